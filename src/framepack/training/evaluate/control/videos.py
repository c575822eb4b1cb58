"""Videos in: seams and motion of extend, lead-in, bridge and loop, nearness of restyle, stillness beside a mask.

Sources are true pans of held-out pictures, and pictures that stand still. Step, sharpness, colour: see `seams`.
Boundary: requests videos and measures them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from framepack.spec.geometry import HUNYUAN
from framepack.training.evaluate.control.bench import SECTION, Bench, Row
from framepack.training.evaluate.control.yardstick import beside, generated, yardsticks
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import mean
from framepack.training.evaluate.metrics import Video, psnr
from framepack.training.evaluate.seams import MOST_COLOUR, MOST_SHARPNESS, MOST_STEP, crossing, difference, speed

MOTIONS = ("pan left", "pan down", "still")
LENGTH = 60
"""Frames of a source."""
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
FASTER, TURNED = 0.15, 15.0
"""Share of the speed and degrees by which the motion of what follows a video may differ."""
OUTSIDE = 35.0
"""dB to the start beside a mask."""
EDGE = 8
"""Pixels beside a mask's border that are left out."""


def extend(bench: Bench) -> Iterator[Row]:
    """What follows true pans, with the prompt of the motion."""
    return joined(bench, "extend", follows=True)


def lead_in(bench: Bench) -> Iterator[Row]:
    """What led to true pans."""
    return joined(bench, "lead_in", follows=False)


def joined(bench: Bench, task: str, *, follows: bool) -> Iterator[Row]:
    """A source and what was made beside it: their seam, and how far the made motion is from the source's there."""
    second = HUNYUAN.fps
    for model in bench.orders("forward" if follows else "inverted"):
        for scene in bench.scenes():
            for motion in MOTIONS:
                source = scene.truth(motion, LENGTH)
                request = bench.request(model, scene, motion, task=task, image=bench.clip(source, "source"))
                video = bench.file(request)
                seam = LENGTH if follows else len(video) - LENGTH
                values = seam_values(video, seam)
                if motion != "still":
                    own = source[-second:] if follows else source[:second]
                    made = video[seam - 1 :][:second] if follows else video[max(seam - second, 0) : seam + 1]
                    share, turn = difference(speed(own), speed(made))
                    values |= {"speed off": share, "degrees off": turn}
                part = task.replace("_", "-")
                yield Row(part=part, model=model, scene=scene.name, case=motion, values=values)
                if motion != "still":
                    yield from yardsticks(bench, (part, model, scene), motion, crossing, (follows, not follows))


def bridge(bench: Bench) -> Iterator[Row]:
    """Between two parts of one pan, a section apart; a row for each seam."""
    gap = LENGTH + round(HUNYUAN.fps * SECTION)
    for model in bench.orders("inverted"):
        for scene in bench.scenes():
            for motion in MOTIONS:
                truth = scene.truth(motion, gap + LENGTH)
                files = bench.clip(truth[:LENGTH], "source"), bench.clip(truth[gap:], "target")
                request = bench.request(model, scene, motion, task="bridge", image=files[0], target=files[1])
                video = bench.file(request)
                for place, at in (("first", LENGTH), ("second", len(video) - LENGTH)):
                    case = f"{motion}, {place} seam"
                    yield Row(part="bridge", model=model, scene=scene.name, case=case, values=seam_values(video, at))
                    if motion != "still":
                        stays = (place == "first", place == "second")
                        where = ("bridge", model, scene)
                        yield from yardsticks(bench, where, motion, crossing, stays, f", {place} seam")


def loop(bench: Bench) -> Iterator[Row]:
    """One and two sections; the seam is that from the end to the begin."""
    for model in bench.orders("inverted"):
        for scene in bench.scenes():
            for sections in (1, 2):
                for motion in ("sway", "still"):
                    request = bench.request(model, scene, motion, task="loop", seconds=sections * SECTION)
                    video = bench.file(request)
                    half = len(video) // 2
                    values = seam_values(np.roll(video, half, axis=0), half)
                    case = f"{motion}, {sections} sections" if sections > 1 else f"{motion}, 1 section"
                    yield Row(part="loop", model=model, scene=scene.name, case=case, values=values)
            yield from yardsticks(bench, ("loop", model, scene), "sway", crossing)


def restyle(bench: Bench) -> Iterator[Row]:
    """Nearness to the source over strengths, dB."""
    for model in bench.orders():
        for scene in bench.scenes():
            source = scene.truth("pan left", 1 + round(HUNYUAN.fps * SECTION))
            file, values = bench.clip(source, "source"), {}
            for strength in STRENGTHS:
                request = bench.request(model, scene, "zoom in", task="restyle", image=file, strength=strength)
                video = bench.file(request)
                values[f"{strength:g}"] = psnr(video, source[: len(video)])
            course = tuple(values.values())
            yield Row(part="restyle", model=model, scene=scene.name, case="a pan", values=values, course=course)


def mask(bench: Bench) -> Iterator[Row]:
    """The left half may move."""
    width, height = bench.settings.size
    white = np.zeros((height, width, 3), np.uint8)
    white[:, : width // 2] = 255
    for model in bench.orders():
        for scene in bench.scenes():
            file = bench.save(white, "mask")
            video = bench.file(bench.request(model, scene, "pan left", motion_mask=file))
            values = {"outside": outside(video, width), "inside": within(video, width)}
            yield Row(part="mask", model=model, scene=scene.name, case="left half", values=values)


def outside(video: Video, width: int) -> float:
    """dB to the video's own first frame outside the mask: what the VAE makes of the start."""
    part = video[:, :, width // 2 + EDGE :]
    return psnr(part, np.repeat(part[:1], len(part), 0))


def within(video: Video, width: int) -> float:
    """The same inside of it."""
    part = video[:, :, : width // 2 - EDGE]
    return psnr(part, np.repeat(part[:1], len(part), 0))


def seam_values(video: Video, at: int) -> dict[str, float]:
    """Where two makers' frames meet."""
    found = crossing(video, at)
    return {"step": found.step, "sharpness": found.sharpness, "colour": found.colour}


def seam_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Of one task: the worst of each, what it is where nothing was generated, and how the motion goes on."""
    bounds = {"step": MOST_STEP, "sharpness": MOST_SHARPNESS, "colour": MOST_COLOUR}
    bounds |= {"speed off": FASTER, "degrees off": TURNED}
    for name, most in bounds.items():
        if found := [row.values[name] for row in generated(rows) if name in row.values]:
            goal = f"{rows[0].part}: {name}, most of {len(found)}{beside(rows, name)}"
            yield Goal(goal=goal, wanted=most, reached=max(found), at_most=True)


def restyle_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Farther from the source with each strength."""
    if rows:
        falling = [all(one > other for one, other in pairwise(row.course)) for row in rows]
        yield Goal(goal="restyle: dB to the source fall with each strength, of all", wanted=1.0, reached=mean(falling))


def mask_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """What is outside stands still."""
    if rows:
        least = min(row.values["outside"] for row in rows)
        yield Goal(goal="mask: dB to the first frame outside it, least", wanted=OUTSIDE, reached=least)
