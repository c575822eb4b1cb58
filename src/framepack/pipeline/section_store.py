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
from dataclasses import asdict, replace
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
    claim_of,
    decisive,
    make_way,
    request_in,
    require_ours,
    section_file,
)
from framepack.pipeline.work_lock import TEMPORARY, held, sweep
from framepack.spec.events import Look
from framepack.spec.events_json import look_from_json
from framepack.spec.plan import SectionPlan
from framepack.spec.redo import made_anew
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import tiles_of
from framepack.spec.windows import Said


class SectionStore:
    """Paths and files of one job's work. `keeps`: whether latents are worth writing down."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps
        self.anew: range | None = None
        """Places in the plan of the sections a later take makes; it shares the others. None for a first take."""
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
            if request.redo:
                raise ValueError("a take is made in a work folder that shares sections: name the one `redo` began")
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
            if request.redo:
                folder.anew = made_anew(request)
                folder.require_shared(len(tiles_of(request)))
            yield folder

    def claim_for(self, request: GenerationRequest) -> None:
        """Write the request down, or raise ValueError where another one's work lies here.

        What decides neither latents nor frames (the output's name) may differ; the files it names may not.
        """
        self.claim = claim_of(request)
        asked, used = decisive(request), self.claim[CONTENTS]
        theirs = self.theirs()
        if theirs is None:
            self.require_mine()
            self.sign()
            return
        before: dict[str, str] = theirs.get(CONTENTS, {})
        made = todays(request_in(theirs))
        differing = [key for key in asked if asked[key] != made.get(key)]
        differing += [f"{Path(name).name} itself" for name in used if used[name] != before.get(name, used[name])]
        if differing:
            raise self.of_another(f" (other: {', '.join(sorted(differing))})")
        self.claim[JOB] = theirs.get(JOB, self.claim[JOB])

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
            begun = any(not self.is_to_come(index) for index in range(self.finished()))
            if (self.path / NAME).exists() or begun:
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
        return max((index + 1 for index in there), default=0)

    def section(self, index: int) -> Path:
        """Where section `index`'s latents are."""
        return section_file(self.path, index)

    def shares(self, index: int) -> bool:
        """Whether another take made section `index`, so that it can only be read here."""
        return self.anew is not None and index not in self.anew

    def require_shared(self, count: int) -> None:
        """Raises ValueError where a section that this take shares is not here."""
        lacking = [index for index in range(count) if self.shares(index) and not self.section(index).is_file()]
        if lacking:
            raise ValueError(
                f"{self.section(lacking[0]).name} of another take is not in {self.path}: redo from that take's "
                "sections again, or make a new video without `redo`"
            )

    def look(self, index: int) -> Look | None:
        """What section `index` looks like, where that was written down."""
        with suppress(DamagedError):
            if found := self.record(index).look:
                return look_from_json(found)
        return None

    def record(self, index: int) -> Record:
        """What was written down of section `index`. Raises DamagedError."""
        return Record.read(self.section(index).with_suffix(".json"))

    def intact(self, sections: Sequence[SectionPlan], like: Tensor) -> tuple[int, list[str], str]:
        """How many sections, from the first on, are as they were written, and the SHA-256 of each one's final frames.

        like: a latent (1, C, t, h, w) of the video. The third is a sentence of what is damaged, empty where nothing is.
        """
        frames: list[str] = []
        for section in sections[: self.finished()]:
            if self.is_to_come(section.index):
                return section.index, frames, ""
            try:
                _, record = self.load_section(section.index, shape_of(section, like))
            except DamagedError as error:
                where = f"section {section.index + 1} of {len(sections)}"
                return section.index, frames, f"{error}: the video is made again from {where} on"
            frames.append(record.settled)
        return min(self.finished(), len(sections)), frames, ""

    def is_to_come(self, index: int) -> bool:
        """Whether no frame of section `index` was ever written in a take that shares sections."""
        if self.anew is None:
            return False
        if index in self.anew:
            return not self.section(index).with_suffix(".json").exists()
        with suppress(DamagedError):
            return self.record(index).shared
        return False

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
        """Mark section `index` as finished; `settled`: the SHA-256 of its final frames' file, "" without any."""
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

    def save_frames(self, index: int, settled: str) -> None:
        """Write down that the frames that settle with section `index`, whose latents are here, are in their file."""
        if self.keeps:
            record = replace(self.record(index), settled=settled, shared=False)
            write_json(self.section(index).with_suffix(".json"), asdict(record))

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


def todays(written: dict[str, Any]) -> dict[str, Any]:
    """The request of a work folder; one from before a setting was there has that at its default."""
    try:
        return decisive(GenerationRequest.stored(written))
    except ValueError:
        return written
