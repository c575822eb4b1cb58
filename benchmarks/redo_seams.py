"""Seams on both sides of a section that was made anew alone, on mini, and a contact sheet to look at.

    python benchmarks/redo_seams.py FOLDER [--pictures a.jpg b.jpg] [--prompts 'slow zoom in']

For each order, picture and prompt a video of four sections is made, then its second and third are redone alone. Prints
the borders of the redone sections beside the same borders before, and places inside of sections; and writes
FOLDER/redo-ORDER-N.png: frames around
both borders, before and after.
"""

import argparse
from pathlib import Path

import numpy as np

from framepack import FramePack, GenerationRequest, load, redo
from framepack.media.read import read_video
from framepack.media.sheet import contact_sheet, save_png
from framepack.spec.events import Finished
from framepack.training.evaluate.metrics import luma
from framepack.training.evaluate.seams import LEAST_STEP, NEAR, PHASES, REACH, Seam, seam

PROMPTS = ("the camera pans left", "slow zoom in", "nothing moves")
"""Said where nobody says others."""
SECTIONS, FRAMES = 4, 36


def make(model: FramePack, request: GenerationRequest, work: Path) -> np.ndarray:
    """The video's frames."""
    *_, finished = model.generate(request, work=work)
    assert isinstance(finished, Finished)
    return np.stack(list(read_video(finished.file)))


def named(request: GenerationRequest, file: Path) -> GenerationRequest:
    """The request with a file of its own."""
    output = request.output.model_copy(update={"path": file, "overwrite": True})
    return request.model_copy(update={"output": output})


def shown(one: Seam) -> str:
    """A seam in a few words."""
    return f"{one.step:5.2f}x {one.sharpness:6.1%} {one.colour:5.2f}"


def beside(video: np.ndarray, border: int) -> float:
    """A border's largest step over the median of its phase in the two sections beside it, as steps change in time."""
    steps = np.abs(np.diff(luma(video), axis=0)).mean((1, 2))
    around = np.arange(max(border - 1 - NEAR, 0), min(border + NEAR, len(steps)))
    places = range(border - 1 - REACH, border + REACH)
    usual = [np.median(steps[around[(around - at) % PHASES == 0]]) for at in places]
    return max(float(steps[at]) / max(float(median), LEAST_STEP) for at, median in zip(places, usual, strict=True))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", nargs="+", type=Path, default=[Path("examples/harbour.jpg")])
    parser.add_argument("--prompts", nargs="+", default=PROMPTS)
    parser.add_argument("--resolution", type=int, default=160)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    before, after, inside, near = list[Seam](), list[Seam](), list[Seam](), list[float]()
    for name in ("mini", "mini-f1"):
        model, rows = load(name), []
        for number, (picture, prompt) in enumerate((p, q) for p in options.pictures for q in options.prompts):
            settings = {"image": picture, "prompt": prompt, "model": name, "resolution": options.resolution}
            request = GenerationRequest.model_validate(
                {**settings, "seconds": SECTIONS * 1.2, "output": {"format": "mkv", "live": False}}
            )
            work = options.folder / f"{name}-{number}"
            first = make(model, named(request, work.with_suffix(".mkv")), work)
            inside += [seam(first, FRAMES * section + FRAMES // 2) for section in range(SECTIONS)]
            for section in (2, 3):
                folder = work.with_name(f"{work.name}-{section}")
                second = make(model, named(redo(work, folder, section), folder.with_suffix(".mkv")), folder)
                for border in (1 + FRAMES * (section - 1), 1 + FRAMES * section):
                    before.append(seam(first, border))
                    after.append(seam(second, border))
                    near.append(beside(second, border))
                    print(f"{name:8} {picture.name} {prompt!r} section {section} frame {border:3}: ", end="")
                    print(f"{shown(before[-1])} -> {shown(after[-1])}", flush=True)
                at = [FRAMES * (section - 1) + shift for shift in (-8, -2, 1, 18, 34, 37, 44)]
                rows += [
                    (video[frame], f"{kind} {frame}") for kind, video in (("", first), ("new", second)) for frame in at
                ]
        pictures, labels = [picture for picture, _ in rows], [label for _, label in rows]
        save_png(options.folder / f"redo-{name}.png", contact_sheet(pictures, 7, labels=labels))
    for kind, found in (("before", before), ("redone", after), ("inside sections", inside)):
        steps, sharp, colour = (np.array([getattr(s, n) for s in found]) for n in ("step", "sharpness", "colour"))
        print(
            f"{kind}: {sum(s.unseen for s in found)} of {len(found)} unseen; step median {np.median(steps):.2f} "
            f"most {steps.max():.2f}; sharpness {np.median(sharp):.1%}, {sharp.max():.1%}; "
            f"colour {np.median(colour):.2f}, {colour.max():.2f}"
        )
    print(f"redone, over the steps beside the border: median {np.median(near):.2f} most {max(near):.2f}")


if __name__ == "__main__":
    main()
