"""What lies in a work folder: the names of its files, the record beside a section, and what does not belong there."""

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from framepack.pipeline.seal import read_json
from framepack.spec.request import GenerationRequest
from framepack.spec.stored import LATEST, SCHEMA

REQUEST = "request.json"
NAME = "output.json"
OLD_NAME = "output.txt"
LOCK = "lock"
CONTENTS = "contents"
"""Key in the request's file: the SHA-256 of each picture and LoRA by its path."""
BESIDE = "beside"
"""Key in the request's file: what of the request decides neither latents nor frames."""
JOB = "job"
"""Key in the request's file: the SHA-256 of the request, which stands in each record too."""
SECTION = re.compile(r"section-(\d{4,})\.(safetensors|json)")
OURS = re.compile(rf"{SECTION.pattern}|conditioning\.safetensors|(settled-\d{{4,}}|new|tail|before|after|silent)\.\w+")
"""Names of a job's files, without those that identify the job."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What stands beside a finished section: whose it is, and the SHA-256 of its latents and of its final frames."""

    job: str
    section: int
    latents: str
    settled: str
    """Empty where no frame is settled yet, or an earlier version wrote the section."""
    look: dict[str, Any] | None = None
    """What the section looks like, see `events.Look`; None where an earlier version wrote it."""
    shared: bool = False
    """Another take made the section, and none of this one's frames were written since."""

    @classmethod
    def read(cls, file: Path) -> "Record":
        """Raises DamagedError."""
        return cls(**read_json(file))


def require_ours(folder: Path) -> None:
    """ValueError for a folder that has others' things in it and no request: dozens of files would come among them."""
    if not os.path.lexists(folder / REQUEST):  # a link that leads nowhere is a damaged one
        names = {file.name for file in folder.iterdir() if not file.name.startswith(".")} - {LOCK}
        others = sorted(name for name in names - {NAME} if not OURS.fullmatch(name))
        if others or names == {NAME}:
            raise ValueError(f"{folder} has other things in it ({min(names)}): name an empty folder, or a new one")


def make_way(folder: Path) -> Iterator[str]:
    """Drop what a killed run was just writing, and put aside what is no file where a file belongs, with a notice."""
    for entry in sorted(folder.iterdir()):
        if entry.name in (REQUEST, NAME) or OURS.fullmatch(entry.name):
            if not entry.is_file():
                names = (folder / f".{entry.name}-{number}" for number in itertools.count(1))
                aside = entry.rename(next(name for name in names if not os.path.lexists(name)))
                yield f"{entry.name} in the work folder is not a file: it is moved to {aside.name}"
        elif entry.name.startswith(".") and entry.suffix == ".part" and entry.is_file():
            entry.unlink()


def section_file(folder: Path, index: int) -> Path:
    """Where the latents of section `index` are; its record is beside them."""
    return folder / f"section-{index:04d}.safetensors"


def belongs_to_sections(name: str) -> bool:
    """Whether a file of this name is needed to make another take of a video that is finished."""
    return name == REQUEST or SECTION.fullmatch(name) is not None


def claim_of(request: GenerationRequest) -> dict[str, Any]:
    """What the request's file in a work folder says: the job's sum, the request, and what is in its files."""
    asked, used = decisive(request), contents(request)
    job = sha256(json.dumps([asked, used], sort_keys=True).encode()).hexdigest()
    return {JOB: job, SCHEMA: LATEST, **asked, CONTENTS: used, BESIDE: undecisive(request)}


def request_in(claim: dict[str, Any]) -> dict[str, Any]:
    """The request in what a work folder's file says, as it was stored."""
    return {key: value for key, value in claim.items() if key not in (JOB, CONTENTS, BESIDE)}


def whole_request(claim: dict[str, Any]) -> dict[str, Any]:
    """The same with what decides neither latents nor frames, but for the file's name."""
    request, beside = request_in(claim), claim.get(BESIDE, {})
    return {**request, **beside, "output": {**request.get("output", {}), **beside.get("output", {})}}


def decisive(request: GenerationRequest) -> dict[str, Any]:
    """What of a request decides latents or frames, as JSON."""
    return request.model_dump(
        mode="json", exclude={"finish": True, "output": {"path", "live", "overwrite", "mark", "sign"}}
    )


def undecisive(request: GenerationRequest) -> dict[str, Any]:
    """The rest of a request, but for the file's name, as JSON: another take of the video has it too."""
    return request.model_dump(mode="json", include={"finish": True, "output": {"live", "mark", "sign"}})


def contents(request: GenerationRequest) -> dict[str, str]:
    """The SHA-256 of each file that has a say in the video, by its path."""
    files = [picture.file for picture in request.files.values()]
    files += [lora.file for lora in request.loras if lora.strength]
    return {str(path): digest(path) for path in files}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
