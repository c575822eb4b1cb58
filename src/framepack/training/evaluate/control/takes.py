"""Takes and stills: seams on both sides of a section made anew alone, and stills against the frames of the long run.

A still belongs to its place where, of the long run's frames at all places of the storyboard, its own is nearest.
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
from framepack.training.evaluate.goals import Goal
from framepack.training.evaluate.groups import mean
from framepack.training.evaluate.metrics import psnr
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


def takes_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Borders of redone sections, the most of each; beside it how many are as unseen as those before."""
    redone = [row.values for row in rows if row.case.endswith("redone")]
    before = [row.values for row in rows if row.case.endswith("before")]
    for name, most in (("step", MOST_STEP), ("sharpness", MOST_SHARPNESS), ("colour", MOST_COLOUR)):
        if redone:
            found = max(values[name] for values in redone)
            yield Goal(
                goal=f"takes: {name} at borders, most of {len(redone)}", wanted=most, reached=found, at_most=True
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
                for own, panel in zip(places, panels, strict=True):
                    still = bench.frames(panel.request)[:1]
                    near = [psnr(still, video[place][None]) for place in places]
                    best = places[int(np.argmax(near))]
                    values = {
                        "dB": near[places.index(own)],
                        "nearest at": best / HUNYUAN.fps,
                        "there": float(best == own),
                    }
                    case = f"{motion}, still at {panel.second:g} s"
                    yield Row(part="stills", model=model, scene=scene.name, case=case, values=values)


def stills_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    """Whether each still is nearest to the frame of its own place."""
    if rows:
        share = mean(row.values["there"] for row in rows)
        yield Goal(goal=f"stills: nearest to the long run at their place, of {len(rows)}", wanted=1.0, reached=share)
