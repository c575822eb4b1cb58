"""A hundred damages of a work folder: each is noticed, and the video is the undamaged run's to the byte.

`python benchmarks/damage_work.py` makes a short video with the bundled model, whole and broken off before its last
section, does something to one file of a copy of its work folder, runs the same request again, and compares. The sealed
request of another job is refused instead: nobody can tell whose the sections are then.
"""

import argparse
import os
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from framepack import FramePack, GenerationRequest
from framepack.media.read import probe
from framepack.spec.events import Finished, Notice, SectionDone

PICTURE = Path(__file__).parents[1] / "examples" / "ball.jpg"
Damage = Callable[[Path, Path, random.Random], None]
"""Does something to a file; the second path is the same file of another job."""


def half(file: Path, other: Path, chance: random.Random) -> None:
    """As a disk that was full, or a copy that was broken off."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path, other: Path, chance: random.Random) -> None:
    """As a power cut leaves files that were not forced to the disk."""
    file.write_bytes(b"")


def zeroed(file: Path, other: Path, chance: random.Random) -> None:
    """As some file systems do after a power cut."""
    file.write_bytes(bytes(file.stat().st_size))


def a_zeroed_block(file: Path, other: Path, chance: random.Random) -> None:
    """Up to 4096 bytes."""
    data = bytearray(file.read_bytes())
    at = chance.randrange(len(data))
    data[at : at + 4096] = bytes(len(data[at : at + 4096]))
    file.write_bytes(data)


def a_flipped_bit(file: Path, other: Path, chance: random.Random) -> None:
    """One of all."""
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def a_byte_more(file: Path, other: Path, chance: random.Random) -> None:
    """At the end."""
    file.write_bytes(file.read_bytes() + b"\0")


def noise(file: Path, other: Path, chance: random.Random) -> None:
    """Of the same length."""
    file.write_bytes(chance.randbytes(file.stat().st_size))


def missing(file: Path, other: Path, chance: random.Random) -> None:
    """Someone made room."""
    file.unlink()


def a_folder(file: Path, other: Path, chance: random.Random) -> None:
    """With something in it."""
    file.unlink()
    file.mkdir()
    (file / "letter.txt").write_text("dear")


def a_loop(file: Path, other: Path, chance: random.Random) -> None:
    """A link to itself: it is there, and cannot be opened."""
    file.unlink()
    file.symlink_to(file.name)


def another_jobs(file: Path, other: Path, chance: random.Random) -> None:
    """The same request with another seed."""
    shutil.copyfile(other, file)


def swapped(file: Path, other: Path, chance: random.Random) -> None:
    """With the same file of another section."""
    one, two = ("0000", "0001") if "0000" in file.name else (file.stem[-4:], "0000")
    neighbour = file.with_name(file.name.replace(one, two))
    held = file.read_bytes()
    shutil.copyfile(neighbour, file)
    neighbour.write_bytes(held)


DAMAGES: tuple[Damage, ...] = (
    half,
    empty,
    zeroed,
    a_zeroed_block,
    a_flipped_bit,
    a_byte_more,
    noise,
    missing,
    a_folder,
    a_loop,
    another_jobs,
    swapped,
)


@dataclass(frozen=True)
class Job:
    """A request, a work folder as it was left, and how the video came out."""

    request: GenerationRequest
    work: Path
    video: bytes


class Proof:
    """Runs of one model in one folder."""

    def __init__(self, framepack: FramePack, folder: Path, name: str) -> None:
        self.framepack, self.folder = framepack, folder
        self.output = folder / "videos" / f"v{name}"

    def request(self, seed: int) -> GenerationRequest:
        """Three sections of twelve frames each, and one."""
        size = {"width": 64, "height": 64, "window": 3, "steps": 1, "seconds": 1.2, "seed": seed}
        return GenerationRequest.model_validate({"image": PICTURE, "output": {"path": self.output}, **size})

    def job(self, seed: int, sections: int) -> Job:
        """The video, and the work folder of a run that was closed after so many sections."""
        request, work = self.request(seed), self.folder / f"left-{self.output.suffix[1:]}-{seed}-{sections}"
        run, done = self.framepack.generate(request, work=work), 0
        for event in run:
            done += isinstance(event, SectionDone)
            if done == sections < 3:
                run.close()
        self.output.unlink(missing_ok=True)
        for _ in self.framepack.generate(request, work=self.folder / "whole"):
            pass
        video = self.output.read_bytes()
        shutil.rmtree(self.folder / "whole")
        self.output.unlink()
        return Job(request, work, video)

    def again(self, job: Job, other: Job, name: str, damage: Damage, chance: random.Random) -> str:
        """Damage a copy and run it: "" where it was noticed and the video is the same, else what is wrong."""
        work = self.folder / "work"
        shutil.copytree(job.work, work)
        damage(work / name, other.work / name, chance)
        notices, frames = [], 0
        try:
            for event in self.framepack.generate(job.request, work=work):
                if isinstance(event, Notice):
                    notices.append(event.message)
                elif isinstance(event, Finished):
                    frames = event.frames
            same = self.output.read_bytes() == job.video
            planned = frames == probe(self.output).frames == job.request.frame_count
            self.output.unlink()
        except (ValueError, OSError) as error:
            if damage is another_jobs and "holds the work of another request" in str(error):
                return ""  # whole, sealed and of another job: whose the sections are, nobody can tell
            return f"refused: {type(error).__name__} {error}"
        finally:
            shutil.rmtree(work)
        print("", *notices, sep="\n    ")
        wrong = {"not noticed": not notices, "other bytes": not same, "other frames": not planned}
        return ", ".join(what for what, is_so in wrong.items() if is_so)


def names(job: Job) -> list[str]:
    """The files that a run reads when it is taken up."""
    settled = max(file.name for file in job.work.glob("settled-*"))
    sections = sorted(file.name for file in job.work.glob("section-*"))
    return ["request.json", "output.json", settled, *sections]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write what came of it to this file")
    parser.add_argument("--part", type=int, default=0, help="which part of all damages")
    parser.add_argument("--parts", type=int, default=1, help="into how many parts they are divided")
    arguments = parser.parse_args()
    chance, framepack, began = random.Random(arguments.seed), FramePack.load("mini", device="cpu"), time.monotonic()
    tried, failed = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, sections in ((".mp4", 3), (".mkv", 2)):
            proof = Proof(framepack, Path(folder), suffix)
            job, other = proof.job(0, sections), proof.job(1, sections)
            cases = [(name, damage) for name in names(job) for damage in DAMAGES if fits(name, damage)]
            for name, damage in cases[arguments.part :: arguments.parts]:
                wrong = proof.again(job, other, name, damage, chance)
                print(f"{suffix} {damage.__name__:14} {name:26} {wrong or 'noticed, same video'}", flush=True)
                tried, failed = tried + 1, [*failed, *([(name, damage.__name__, wrong)] if wrong else [])]
    said = f"{tried} damages, {tried - len(failed)} noticed, {time.monotonic() - began:.0f} s"
    lines = [said, *("FAILED " + " ".join(row) for row in failed)]
    print(*lines, sep="\n")
    if arguments.save:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        kinds = ", ".join(damage.__name__.replace("_", " ") for damage in DAMAGES)
        heading = f"# Damaged work folders, {date.today()}, {machine}\n\n{kinds}\n\n"
        arguments.save.write_text(heading + "\n".join(lines) + "\n", "utf-8")


def fits(name: str, damage: Damage) -> bool:
    """A settled file has no neighbour that is whole, and two jobs' output is one name."""
    return not (damage is swapped and "section-000" not in name) and not (damage is another_jobs and "output" in name)


if __name__ == "__main__":
    main()
