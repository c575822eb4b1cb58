"""How well videos go on: seams and motion of extend, bridge and loop, nearness of restyle, stillness beside a mask.

Sources are true pans of held-out procedural pictures, and pictures that stand still. Prints a line for each video and
writes contact sheets.

    python benchmarks/videos_in.py FOLDER [--side 96] [--scenes 2] [--only extend loop]
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import framepack
from framepack import FramePack, GenerationRequest
from framepack.media.read import read_video
from framepack.media.sheet import contact_sheet, save_png
from framepack.media.video import VideoWriter
from framepack.spec.events import Finished
from framepack.training.evaluate.metrics import Video, psnr
from framepack.training.evaluate.scenes import Scene, procedural_scenes
from framepack.training.evaluate.seams import crossing, difference, speed

MOTIONS = {"pan left": "the camera pans left", "pan down": "the camera pans down", "still": "nothing moves"}
LENGTH, SECONDS = 60, 1.2
"""Frames of a source, seconds of what is made: a section."""
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
TASKS = ("extend", "bridge", "loop", "restyle", "mask", "lead_in")


class Bench:
    """Where it works, and its models."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side = folder, side
        self.models: dict[str, FramePack] = {}

    def source(self, scene: Scene, motion: str, frames: int = LENGTH, first: int = 0) -> tuple[Path, Video]:
        """A true video as a lossless file."""
        file, video = self.folder / f"{scene.name}-{motion}-{first}.mkv", scene.truth(motion, first + frames)[first:]
        with VideoWriter(file, size=(self.side, self.side)) as writer:
            writer.write(video)
        return file, video

    def picture(self, scene: Scene) -> Path:
        """Its start picture as a file."""
        file = self.folder / f"{scene.name}.png"
        Image.fromarray(scene.picture).save(file)
        return file

    def make(self, name: str, **fields: Any) -> Video:
        """The frames of a request."""
        output = {"path": self.folder / f"{name}.mkv", "overwrite": True, "live": False}
        size = {"width": self.side, "height": self.side, "seconds": SECONDS}
        request = GenerationRequest.model_validate({**size, "output": output, **fields})
        model = self.models.setdefault(request.model, framepack.load(request.model, device="cpu"))
        *_, finished = model.generate(request)
        assert isinstance(finished, Finished)
        return np.stack(list(read_video(finished.file)))

    def sheet(self, name: str, video: Video, at: list[int]) -> None:
        """Frames around places, in a picture."""
        shown = [video[i] for place in at for i in range(max(place - 6, 0), min(place + 6, len(video)), 2)]
        save_png(self.folder / f"{name}.png", contact_sheet(shown, 6, labels=[""] * len(shown)))


def seams(bench: Bench, name: str, video: Video, at: list[int]) -> None:
    """A line for each seam."""
    for place in at:
        found = crossing(video, place)
        print(
            f"{name:44} step {found.step:5.2f}  sharpness {found.sharpness:6.1%}  colour {found.colour:5.2f}",
            flush=True,
        )
    bench.sheet(name.replace(" ", "-"), video, at)


def extend(bench: Bench, scene: Scene) -> None:
    """Forward from true pans; with the prompt of the motion and without any."""
    for motion, prompt in MOTIONS.items():
        file, source = bench.source(scene, motion)
        for said in (prompt, "") if motion != "still" else (prompt,):
            name = f"extend {scene.name} {motion} {'said' if said else 'unsaid'}"
            video = bench.make(name, task="extend", image=file, prompt=said)
            if motion != "still":
                share, turn = difference(speed(source[-30:]), speed(video[LENGTH - 1 : LENGTH + 30]))
                print(f"{name:44} speed {share:+.0%} off, {turn:.0f} degrees", flush=True)
            seams(bench, name, video, [LENGTH])


def lead_in(bench: Bench, scene: Scene) -> None:
    """What led to a pan."""
    for motion, prompt in MOTIONS.items():
        file, source = bench.source(scene, motion)
        name = f"lead-in {scene.name} {motion}"
        video = bench.make(name, task="lead_in", image=file, prompt=prompt)
        new = len(video) - LENGTH
        if motion != "still":
            share, turn = difference(speed(source[:30]), speed(video[max(new - 30, 0) : new + 1]))
            print(f"{name:44} speed {share:+.0%} off, {turn:.0f} degrees", flush=True)
        seams(bench, name, video, [new])


def bridge(bench: Bench, scene: Scene) -> None:
    """Between two parts of one pan, a section apart."""
    for motion, prompt in MOTIONS.items():
        before, _ = bench.source(scene, motion)
        after, _ = bench.source(scene, motion, first=LENGTH + round(30 * SECONDS))
        name = f"bridge {scene.name} {motion}"
        video = bench.make(name, task="bridge", image=before, target=after, prompt=prompt)
        seams(bench, name, video, [LENGTH, len(video) - LENGTH])


def loop(bench: Bench, scene: Scene) -> None:
    """One and two sections; the seam is that from its end to its begin."""
    for seconds in (SECONDS, 2 * SECONDS):
        for prompt in ("the camera sways", "nothing moves"):
            name = f"loop {scene.name} {prompt} {seconds:g}"
            video = bench.make(name, task="loop", image=bench.picture(scene), prompt=prompt, seconds=seconds)
            half = len(video) // 2
            seams(bench, name, np.roll(video, half, axis=0), [half])


def restyle(bench: Bench, scene: Scene) -> None:
    """Nearness to the source over strengths."""
    file, source = bench.source(scene, "pan left", frames=37)
    near = []
    for strength in STRENGTHS:
        video = bench.make("restyle", task="restyle", image=file, prompt="the camera zooms in", strength=strength)
        near.append(f"{strength:g}: {psnr(video, source[: len(video)]):.1f} dB")
    print(f"{f'restyle {scene.name}':44} {'  '.join(near)}", flush=True)


def mask(bench: Bench, scene: Scene) -> None:
    """The left half may move."""
    white = np.zeros((bench.side, bench.side, 3), np.uint8)
    white[:, : bench.side // 2] = 255
    file = bench.folder / "mask.png"
    Image.fromarray(white).save(file)
    for model in ("mini", "mini-f1"):
        video = bench.make(
            "mask", model=model, image=bench.picture(scene), prompt="the camera pans left", motion_mask=file
        )
        edge = bench.side // 2 + 8
        outside, inside = video[:, :, edge:], video[:, :, : bench.side // 2 - 8]
        first = np.repeat(video[:1], len(video), 0)
        picture = np.repeat(scene.picture[None], len(video), 0)
        print(
            f"{f'mask {scene.name} {model}':44} outside {psnr(outside, first[:, :, edge:]):.1f} dB to the first frame, "
            f"{psnr(outside, picture[:, :, edge:]):.1f} dB to the picture; inside "
            f"{psnr(inside, first[:, :, : bench.side // 2 - 8]):.1f} dB",
            flush=True,
        )
        bench.sheet(f"mask-{scene.name}-{model}".replace(" ", "-"), video, [6, len(video) - 6])


def main() -> None:
    """All of them, or those that are asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--side", type=int, default=96)
    arguments.add_argument("--scenes", type=int, default=2)
    arguments.add_argument("--only", nargs="*", choices=TASKS, default=TASKS)
    given = arguments.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(given.folder, given.side)
    for scene in procedural_scenes(given.scenes, (given.side, given.side)):
        for task in given.only:
            globals()[task](bench, scene)


if __name__ == "__main__":
    main()
