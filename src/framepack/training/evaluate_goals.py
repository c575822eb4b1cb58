"""What the bundled model should reach, beside what an evaluation found. Reads an `Evaluation`; measures nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from framepack.training.evaluate_groups import grouped, mean
from framepack.training.evaluate_metrics import MEASURES
from framepack.training.evaluate_rows import Evaluation

FOLLOWING = {"procedural": 0.95, "photos": 0.85}
"""Share of single motions to follow, in the weaker order."""
CODEC = {"image_psnr": 27.0, "clip_psnr": 28.0}
"""dB that the VAE alone should leave of photos."""
GAIN = 5.0
"""dB over the still answer, photos."""
KEY_FRAME = 3.0
"""dB that a key frame brings at its time."""
SHARPNESS_LOSS = 0.10
"""Share of the sharpness that may go from the first 15% to the last, inverted order."""
ORDERS = ("inverted", "forward", "repetition")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One of them. What was not measured has none."""

    goal: str
    wanted: float
    reached: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted


def goals(evaluation: Evaluation) -> list[Goal]:
    """All goals that the evaluation can speak to."""
    found = (_following, _codec, _keyframes, _drift)
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
