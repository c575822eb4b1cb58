"""The folder a job works in: finished sections' latents and settled frames, so that a crash loses nothing.

A section counts as finished once its record is there. That is written last, and has the checksums of its latents and of
the settled frames: what is damaged is made again, never used. One run at a time uses a folder. Without one of the
user's, a temporary one beside the output is used, on the disk whose free space is checked, and removed; those of runs
that were killed are removed by the next. safetensors only, never pickle.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from framepack.files.atomic import atomic_write, make_folder
from framepack.models.transfer import to_host
from framepack.pipeline.conditioning import Conditioning
from framepack.pipeline.seal import DamagedError, UnsealedError, read_bytes, read_json, write_json
from framepack.pipeline.section_files import (
    CONTENTS,
    JOB,
    NAME,
    OLD_NAME,
    REQUEST,
    SECTION,
    Record,
    contents,
    make_way,
    require_ours,
)
from framepack.pipeline.takes import Take, read_takes
from framepack.pipeline.work_lock import TEMPORARY, held, sweep
from framepack.spec.events import Look
from framepack.spec.events_json import look_from_json
from framepack.spec.plan import Said, SectionPlan
from framepack.spec.request import GenerationRequest
from framepack.spec.stored import LATEST, SCHEMA


class SectionStore:
    """Paths and files of one job's work. `keeps`: whether latents are worth writing down."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps
        self.take = Take()
        self.claim: dict[str, Any] = {}
        """What the request's file says once it is written anew."""
        self.older = False
        """Whether an earlier version began the work: it wrote no records."""
        self.lost_output = False
        """Whether it is no longer known where the output was."""
        self.notices: list[str] = []
        """What was found damaged in the folder itself."""

    @classmethod
    @contextmanager
    def open(cls, path: Path | None, request: GenerationRequest, outputs: Path) -> "Iterator[SectionStore]":
        """Use `path` and check that it belongs to this request, or make a temporary folder for the while.

        outputs: where a request without a path puts its file. Raises ValueError where another run uses `path`, and
        where it is a folder of other things.
        """
        if path is None:
            beside = request.output.path.parent if request.output.path else outputs
            make_folder(beside)
            sweep(beside)
            with TemporaryDirectory(prefix=TEMPORARY, dir=beside) as temporary, held(Path(temporary)):
                yield cls(Path(temporary), keeps=False)
            return
        make_folder(path)
        require_ours(path)
        with held(path):
            folder = cls(path, keeps=True)
            folder.notices += make_way(path)
            folder.claim_for(request)
            folder.take = read_takes(path)[-1]
            yield folder

    def claim_for(self, request: GenerationRequest) -> None:
        """Write the request down, or raise ValueError where another one's work lies here.

        What decides neither latents nor frames (the output's name) may differ; the files it names may not.
        """
        asked = decisive(request)
        used = contents(request)
        job = sha256(json.dumps([asked, used], sort_keys=True).encode()).hexdigest()
        self.claim = {JOB: job, SCHEMA: LATEST, **asked, CONTENTS: used}
        theirs = self.theirs()
        if theirs is None:
            self.require_mine()
            self.sign()
            return
        before: dict[str, str] = theirs.get(CONTENTS, {})
        made = todays({key: value for key, value in theirs.items() if key not in (JOB, CONTENTS)})
        differing = [key for key in asked if asked[key] != made.get(key)]
        differing += [f"{Path(name).name} itself" for name in used if used[name] != before.get(name, used[name])]
        if differing:
            raise self.of_another(f" (other: {', '.join(sorted(differing))})")
        self.claim[JOB] = theirs.get(JOB, job)

    def theirs(self) -> dict[str, Any] | None:
        """The request whose work lies here; None where there is none, and where it is damaged."""
        file = self.path / REQUEST
        try:
            return read_json(file)
        except UnsealedError as error:
            why = error
            with suppress(ValueError):
                if isinstance(theirs := json.loads(file.read_bytes()), dict):
                    self.older = True
                    return theirs
        except DamagedError as error:
            why = error
        if file.exists() or self.finished():
            self.notices.append(f"{why}: it is written anew, and each finished section is checked against this request")
        return None

    def require_mine(self) -> None:
        """Raises ValueError where a section is another request's; for a folder that does not say whose it is."""
        for index in range(self.finished()):
            with suppress(DamagedError):
                if self.record(index).job != self.claim[JOB]:
                    raise self.of_another("")

    def of_another(self, which: str) -> ValueError:
        """What to say of work that is another request's."""
        return ValueError(
            f"{self.path} holds the work of another request{which}; choose another folder or empty this one"
        )

    def sign(self) -> None:
        """Write the request down: from now on nothing without a record counts as finished."""
        write_json(self.path / REQUEST, self.claim)
        self.older = False

    def output(self) -> Path | None:
        """The output's whole name when this work was last taken up; None for work that begins, and where it is lost."""
        old = self.path / OLD_NAME
        try:
            return Path(read_json(self.path / NAME)["output"])
        except DamagedError as error:
            if self.older and old.is_file():
                return Path(os.fsdecode(old.read_bytes()))
            if (self.path / NAME).exists() or self.finished():
                self.lost_output = True
                self.notices.append(f"{error}: where the video was being written is not known any more")
        return None

    def remember_output(self, path: Path) -> None:
        """Write the output's name down: work that is taken up again keeps it, and may replace what it wrote there."""
        if self.keeps:
            write_json(self.path / NAME, {"output": str(path.absolute())})

    def finished(self) -> int:
        """How many sections may be finished here: one more than the last of which there is a file."""
        found = (SECTION.fullmatch(entry.name) for entry in self.path.iterdir()) if self.keeps else ()
        there = {int(name[1]) for name in found if name}
        return max((index + 1 for index in there if self.section(index).exists() or self.is_first), default=0)

    @property
    def is_first(self) -> bool:
        """Whether this is the first take, of which any file is a sign."""
        return not self.take.redone

    def section(self, index: int) -> Path:
        """Where section `index`'s latents are, in this take."""
        return self.path / f"{self.take.stem(index)}.safetensors"

    def branch(self, index: int, seed: int) -> Take:
        """Begin another take: section `index` is made anew from the noise of `seed`, and all after it again."""
        self.take = Take(
            number=len(read_takes(self.path)) + 1,
            parent=self.take.number,
            redone={**self.take.redone, index: seed},
            files=self.take.files_before(index),
        )
        write_json(self.path / self.take.name, asdict(self.take))
        return self.take

    def look(self, index: int) -> Look | None:
        """What section `index` looks like, where that was written down."""
        with suppress(DamagedError):
            found = self.record(index).look
            return found and look_from_json(found)
        return None

    def record(self, index: int) -> Record:
        """What was written down of section `index`. Raises DamagedError."""
        return Record.read(self.section(index).with_suffix(".json"))

    def intact(self, sections: Sequence[SectionPlan], like: Tensor) -> tuple[int, str, str]:
        """How many sections, from the first on, are as they were written, and the SHA-256 of their final frames.

        like: a latent (1, C, t, h, w) of the video. The third is a sentence of what is damaged, empty where nothing is.
        """
        frames = ""
        for section in sections[: self.finished()]:
            try:
                _, record = self.load_section(section.index, shape_of(section, like))
            except DamagedError as error:
                where = f"section {section.index + 1} of {len(sections)}"
                return section.index, frames, f"{error}: the video is made again from {where} on"
            frames = record.settled
        return min(self.finished(), len(sections)), frames, ""

    def load_section(self, index: int, shape: tuple[int, ...]) -> tuple[Tensor, Record]:
        """Section `index`'s latents, `shape`, (1, C, T, h, w) float32 on the CPU, and its record.

        Raises DamagedError unless they are what this job has written there.
        """
        file = self.section(index)
        data = read_bytes(file)
        found = Record(job=self.claim[JOB], section=index, latents=sha256(data).hexdigest(), settled="")
        record = found
        if not self.older or file.with_suffix(".json").exists():
            record = self.record(index)
        for what, whole in (("job", "another job's"), ("section", "another section's"), ("latents", "damaged")):
            if getattr(record, what) != getattr(found, what):
                raise DamagedError(f"{file.name} is {whole}")
        try:
            latents = load(data)["latents"]
        except (SafetensorError, KeyError) as error:
            raise DamagedError(f"{file.name} is damaged ({error})") from None
        if tuple(latents.shape) != shape or not latents.isfinite().all():
            raise DamagedError(f"{file.name} is damaged ({tuple(latents.shape)} numbers, not {shape}, or not finite)")
        return latents, record

    def save_section(self, index: int, latents: Tensor, settled: str = "", look: Look | None = None) -> None:
        """Mark section `index` as finished; `settled`: the SHA-256 of all settled frames' file, "" where none are."""
        if self.keeps:
            file = self.section(index)
            data = self.save_tensors(file.name, {"latents": latents})
            record = Record(
                job=self.claim[JOB],
                section=index,
                latents=sha256(data).hexdigest(),
                settled=settled,
                look=look and asdict(look),
            )
            write_json(file.with_suffix(".json"), asdict(record))

    def save_conditioning(self, made: Conditioning, said: Said) -> None:
        """Write down what the first section was conditioned on, for whoever wants to inspect a run."""
        if self.keeps:
            text = made.texts[said]
            tensors = {"start_latent": made.latents["start"], "text": text.text, "pooled": text.pooled}
            tensors |= {"image": made.features["start"]} if made.features else {}
            self.save_tensors("conditioning.safetensors", tensors)

    def save_tensors(self, name: str, tensors: dict[str, Tensor]) -> bytes:
        """Write a safetensors file, whole or not at all; return what is in it."""
        data = save({key: to_host(value.detach()).contiguous() for key, value in tensors.items()})
        with atomic_write(self.path / name) as temporary:
            temporary.write_bytes(data)
        return data


def shape_of(section: SectionPlan, like: Tensor) -> tuple[int, ...]:
    """Of a section's latents, (1, C, T, h, w)."""
    return (*like.shape[:2], len(section.latents), *like.shape[-2:])


def decisive(request: GenerationRequest) -> dict[str, Any]:
    """What of a request decides latents or frames, as JSON."""
    return request.model_dump(mode="json", exclude={"output": {"path", "live", "overwrite", "mark"}})


def todays(written: dict[str, Any]) -> dict[str, Any]:
    """The request of a work folder; one from before a setting was there has that at its default."""
    try:
        return decisive(GenerationRequest.stored(written))
    except ValueError:
        return written
