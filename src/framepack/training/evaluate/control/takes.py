"""Takes and stills: seams on both sides of a section made anew alone, and stills against the frames of the long run.

A still belongs to its place where, of the long run's frames at all places of the storyboard, its own is nearest; or,
read the other way, where of all stills it is the nearest to that frame.
Boundary: requests videos and measures them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from framepack.pipeline.takes import redo
from framepack.spec.geometry import HUNYUAN
from framepack.spec.storyboard import storyboard
from framepack.spec.variants import VARIANTS
from framepack.training.evaluate.control.bench import SECTION, Bench, Row
from framepack.training.evaluate.control.yardstick import beside, yardsticks
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import mean
from framepack.training.evaluate.metrics import Video, psnr
from framepack.training.evaluate.seams import MOST_COLOUR, MOST_SHARPNESS, MOST_STEP, seam

MOTIONS = ("pan left", "zoom in")
SECTIONS = 4
REDONE = (2, 3)
"""Sections made anew, each alone."""
SECTION_FRAMES = round(SECTION * HUNYUAN.fps)


def takes(bench: Bench) -> Iterator[Row]:
    """A row for each border of a section made anew, and for the same border before."""
    for model in bench.orders():
        for scene in bench.scenes() if VARIANTS[model].keyframes_ahead else ():
            for motion in MOTIONS:
                with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
                    first = Path(folder) / "first"
                    request = bench.request(model, scene, motion, seconds=SECTIONS * SECTION)
                    videos = {"before": bench.file(request, first)}
                    for section in REDONE:
                        work = Path(folder) / f"redo-{section}"
                        videos["redone"] = bench.file(redo(first, work, section), work)
                        for border in (section - 1, section):
                            for kind, video in videos.items():
                                found = seam(video, 1 + SECTION_FRAMES * border)
                                values = {name: getattr(found, name) for name in ("step", "sharpness", "colour")}
                                case = f"{motion}, section {section}, border {border}, {kind}"
                                yield Row(part="takes", model=model, scene=scene.name, case=case, values=values)
                yield from yardsticks(bench, ("takes", model, scene), motion, seam)


def takes_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Borders of redone sections, the most of each; beside it how many are as unseen as those before."""
    redone = [row.values for row in rows if row.case.endswith("redone")]
    before = [row.values for row in rows if row.case.endswith("before")]
    for name, most in (("step", MOST_STEP), ("sharpness", MOST_SHARPNESS), ("colour", MOST_COLOUR)):
        if redone:
            found = max(values[name] for values in redone)
            yield Goal(
                goal=f"takes: {name} at borders, most of {len(redone)}{beside(rows, name)}",
                wanted=most,
                reached=found,
                at_most=True,
            )
            usual = float(np.median([values[name] for values in before]))
            ratio = float(np.median([values[name] for values in redone])) / max(usual, 1e-6)
            yield Goal(goal=f"takes: median {name} over that before", wanted=1.1, reached=ratio, at_most=True)


def stills(bench: Bench) -> Iterator[Row]:
    """A row for each panel of a storyboard."""
    for model in bench.orders():
        for scene in bench.scenes() if VARIANTS[model].keyframes_ahead else ():
            for motion in (*MOTIONS, "darken"):
                request = bench.request(model, scene, motion, seconds=SECTIONS * SECTION)
                video, panels = bench.frames(request), storyboard(request)
                places = [min(round(panel.second * HUNYUAN.fps), len(video) - 1) for panel in panels]
                frames, made = video[places], np.concatenate([bench.frames(panel.request)[:1] for panel in panels])
                for panel, values in zip(panels, placed(made, frames), strict=True):
                    values["nearest at"] = places[int(values["nearest at"])] / HUNYUAN.fps
                    case = f"{motion}, still at {panel.second:g} s"
                    yield Row(part="stills", model=model, scene=scene.name, case=case, values=values)


def placed(made: Video, frames: Video) -> Iterator[dict[str, float]]:
    """For each still how near it is to the long run's frame of its place, and whether the two find one another.

    Between places: dB from that frame to the most like of the others; where it is high, nothing tells them apart.
    """
    near = np.array([[psnr(still[None], frame[None]) for frame in frames] for still in made])
    apart = np.array([[psnr(one[None], other[None]) for other in frames] for one in frames])
    np.fill_diagonal(apart, 0)
    for own in range(len(made)):
        nearest = int(near[own].argmax())
        yield {
            "dB": float(near[own, own]),
            "between places": float(apart[own].max()),
            "nearest at": nearest,
            "there": float(nearest == own),
            "found": float(near[:, own].argmax() == own),
        }


def stills_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Both ways to read it: of all frames a still's own is nearest to it, and of all stills a frame's own."""
    if rows:
        goal = f"stills: nearest to the long run at their place, of {len(rows)}"
        yield Goal(goal=goal, wanted=1.0, reached=mean(row.values["there"] for row in rows))
        goal = f"stills: of all stills, that of its place is nearest to the long run's frame, of {len(rows)}"
        yield Goal(goal=goal, wanted=1.0, reached=mean(row.values["found"] for row in rows))
