"""The goals of the bundled model, and whether an evaluation meets them. Reads an `Evaluation`; measures nothing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from framepack.training.evaluate.groups import grouped, mean
from framepack.training.evaluate.metrics import MEASURES
from framepack.training.evaluate.results import ControlResult, Evaluation

FOLLOWING = {"procedural": 0.95, "photos": 0.85}
"""Share of single motions to follow, in the weaker order."""
CODEC = {"image_psnr": 27.0, "clip_psnr": 28.0}
"""dB of photos through the VAE alone."""
GAIN = 5.0
"""dB over the still answer, photos."""
KEY_FRAME = 3.0
"""dB that a key frame brings at its time."""
SHARPNESS_LOSS = 0.10
"""Share of the sharpness that may go from the first 15% to the last, inverted order."""
RANGE = 2.0
"""Amplitude of --motion 1 over that of -1."""
LARGEST_LOSS = 1.0
"""dB to the fitted true video that another --motion than 0 may cost."""
STEERED = 0.95
"""Share of prompts to follow whatever --motion is."""
LARGEST_CHANGE = 0.15
"""Share by which --consistency may change the amplitude."""
ORDERS = ("inverted", "forward", "repetition")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal. Parts that were not measured have none."""

    goal: str
    wanted: float
    reached: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


def goals(evaluation: Evaluation) -> list[Goal]:
    """The goals of all parts that were measured."""
    found = (_following, _codec, _keyframes, _drift, _motion, _consistency)
    return [goal for find in found for goal in find(evaluation)]


def _following(evaluation: Evaluation) -> Iterator[Goal]:
    for kind, wanted in FOLLOWING.items():
        shares = [
            mean(row.hit for row in rows)
            for (_, of), rows in grouped(evaluation.following, lambda row: (row.model, row.kind))
            if of == kind
        ]
        if shares:
            yield Goal(goal=f"prompts followed, {kind}, weaker order", wanted=wanted, reached=min(shares))
    moving = [row.gain for row in evaluation.following if row.kind == "photos" and row.motion != "still"]
    if moving:
        yield Goal(goal="dB over the still answer, photos", wanted=GAIN, reached=mean(moving))


def _codec(evaluation: Evaluation) -> Iterator[Goal]:
    photos = [row for row in evaluation.codec if row.kind == "photos"]
    for name, wanted in CODEC.items() if photos else ():
        what = "photo" if name == "image_psnr" else "photo clip"
        yield Goal(
            goal=f"dB the VAE leaves of a {what}", wanted=wanted, reached=mean(getattr(row, name) for row in photos)
        )


def _keyframes(evaluation: Evaluation) -> Iterator[Goal]:
    for (place,), rows in grouped(evaluation.keyframes, lambda row: (row.place,)):
        yield Goal(goal=f"dB a key frame brings, {place}", wanted=KEY_FRAME, reached=mean(row.gain for row in rows))


def _drift(evaluation: Evaluation) -> Iterator[Goal]:
    orders = {order: rows for (order,), rows in grouped(evaluation.drift, lambda row: (row.order,))}
    if all(order in orders for order in ORDERS):
        means = {
            order: [mean(row.drift[name].difference for row in orders[order]) for name in MEASURES] for order in ORDERS
        }
        held = sum(a <= b < c for a, b, c in zip(*means.values(), strict=True)) / len(MEASURES)
        yield Goal(goal="measures in which inverted <= forward < repetition drifts", wanted=1.0, reached=held)
    if "inverted" in orders:
        loss = mean(row.sharpness_loss for row in orders["inverted"])
        name = f"sharpness lost over {evaluation.settings.sections} sections, inverted"
        yield Goal(goal=name, wanted=SHARPNESS_LOSS, reached=loss, at_most=True)


def _curves(rows: Iterable[ControlResult], control: str) -> list[dict[float, list[ControlResult]]]:
    """For each model and motion: by the control's value, rising, the rows of all scenes."""
    rows = [row for row in rows if row.control == control]
    return [
        {value: [row for row in part if row.value == value] for value in sorted({row.value for row in part})}
        for _, part in grouped(rows, lambda row: (row.model, row.motion))
    ]


def _means(curve: dict[float, list[ControlResult]], name: str) -> list[float]:
    return [mean(getattr(row, name) for row in rows) for rows in curve.values()]


def _rising(values: list[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _motion(evaluation: Evaluation) -> Iterator[Goal]:
    if not (curves := _curves(evaluation.controls, "motion")):
        return
    amplitudes = [_means(curve, "amplitude") for curve in curves]
    lost = [mean(row.psnr for row in c[0.0]) - min(_means(c, "psnr")) for c in curves]
    followed = mean(row.hit for row in evaluation.controls if row.control == "motion")
    yield Goal(goal="--motion: amplitude rises, of all curves", wanted=1.0, reached=mean(map(_rising, amplitudes)))
    yield Goal(
        goal="--motion: amplitude at 1 over that at -1", wanted=RANGE, reached=min(a[-1] / a[0] for a in amplitudes)
    )
    yield Goal(goal="--motion: dB to the fitted motion it costs", wanted=LARGEST_LOSS, reached=max(lost), at_most=True)
    yield Goal(goal="--motion: prompts followed", wanted=STEERED, reached=followed)


def _consistency(evaluation: Evaluation) -> Iterator[Goal]:
    if not (curves := _curves(evaluation.controls, "consistency")):
        return
    moved = [
        max(abs(a / mean(row.amplitude for row in curve[1.0]) - 1) for a in _means(curve, "amplitude"))
        for curve in curves
    ]
    nearer = mean(_rising(_means(curve, "start")) for curve in curves)
    calmer = mean(_rising(_means(curve, "roughness")[::-1]) for curve in curves)
    yield Goal(goal="--consistency: end nearer to the start, of all curves", wanted=1.0, reached=nearer)
    yield Goal(goal="--consistency: noise from frame to frame falls, of all curves", wanted=1.0, reached=calmer)
    yield Goal(goal="--consistency: change of amplitude", wanted=LARGEST_CHANGE, reached=max(moved), at_most=True)
