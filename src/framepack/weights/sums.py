"""Checksums of a model's files: what they should be where somebody said so, and which files were found right, and when.

Three say it, none by the network: a SHA256SUMS file (the package's, a training's, or that of a download), the names of
the Hugging Face cache's blobs, and huggingface_hub's notes beside a download. Boundary: bytes; opens no weights.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from framepack.files.atomic import atomic_write, make_folder
from framepack.models.checkpoint import CheckpointError

SUMS = "SHA256SUMS"
"""A file of `sha256sum`'s lines, in a models folder or in a repository's folder."""
DEPTH = 4
"""Folders between a file and a SHA256SUMS at most: `organisation/repository/vae/file`."""
KINDS = (".safetensors", ".json", ".txt")
"""Files that are read as part of a model."""
HASHED_WHEN_LOADED = 64 * 1024**2
"""Larger files are hashed by `models verify` only: this takes 0.1 s, 25 GB take a minute of reading."""
CHUNK = 8 * 1024**2

ReportBytes = Callable[[int], None]
"""Called with the number of bytes just read."""


def known_sum(file: Path) -> str | None:
    """What the file's checksum should be, in hex: SHA-256, or git's SHA-1 of a small hub file; None if nobody says."""
    return _listed(file) or _named_by_blob(file) or _noted(file)


def checksum(file: Path, like: str | None = None, report: ReportBytes | None = None) -> str:
    """The file's checksum of the kind that `like` is (None: SHA-256), read in pieces."""
    digest = hashlib.sha256()
    if like is not None and len(like) == 40:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as content:
        while piece := content.read(CHUNK):
            digest.update(piece)
            if report is not None:
                report(len(piece))
    return digest.hexdigest()


def read_sums(file: Path) -> dict[str, str]:
    """{name: SHA-256} of a SHA256SUMS file; empty where there is none. Lines that are none of its are passed over."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {match[2]: match[1] for line in lines if (match := re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line))}


def write_sums(folder: Path, sums: Mapping[str, str] | None = None) -> None:
    """Write a SHA256SUMS into `folder`, by default of all the model's files below it as they are now."""
    if sums is None:
        files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix in KINDS)
        sums = {file.relative_to(folder).as_posix(): checksum(file) for file in files}
    with atomic_write(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{known}  {name}\n" for name, known in sorted(sums.items())), encoding="utf-8")


def lacking(folder: Path) -> list[Path]:
    """Files that a SHA256SUMS lists directly in `folder` and that are not there."""
    missing = []
    for root in (folder, *folder.parents[: DEPTH - 1]):
        listed = [root / name for name in read_sums(root / SUMS)]
        missing += [file for file in listed if file.parent == folder and not file.is_file()]
    return missing


def gone(file: Path) -> bool:
    """Whether a SHA256SUMS lists a file that is not there."""
    return not file.is_file() and _listed(file) is not None


def check_when_loaded(folders: Iterable[Path], beside: Iterable[Path] = (), *, all_known: bool) -> None:
    """CheckpointError where a file in these folders, or beside them, is not what its checksum says, or is listed and
    not there.

    Files over `HASHED_WHEN_LOADED` are not read. all_known: a file without a known checksum is an error too.
    """
    folders, beside = list(folders), list(beside)
    if missing := [*(file for folder in folders for file in lacking(folder)), *filter(gone, beside)]:
        raise CheckpointError(f"{missing[0]} is missing, though {SUMS} lists it; copy the model again")
    for file in (*(file for folder in folders for file in model_files(folder)), *filter(Path.is_file, beside)):
        known = known_sum(file)
        if known is None and all_known:
            raise CheckpointError(f"{file} does not belong to the model: the package's {SUMS} does not list it")
        if known is not None and file.stat().st_size <= HASHED_WHEN_LOADED:
            check_sum(file, known)


def check_sum(file: Path, known: str, report: ReportBytes | None = None) -> None:
    """CheckpointError unless the file is what its checksum says."""
    if checksum(file, known, report) != known:
        raise CheckpointError(
            f"{file} is damaged or was changed: its checksum is not the known one. Delete it and fetch or copy it "
            f"again; the bundled model comes back with the package. Changed on purpose: correct {SUMS}"
        )


def model_files(folder: Path) -> list[Path]:
    """The files of a model directly in a folder."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in KINDS and file.is_file())


def _listed(file: Path) -> str | None:
    for root in file.parents[: DEPTH + 1]:
        if known := read_sums(root / SUMS).get(file.relative_to(root).as_posix()):
            return known
    return None


def _named_by_blob(file: Path) -> str | None:
    blob = file.resolve()
    return blob.name if blob.parent.name == "blobs" and _is_sum(blob.name) else None


def _noted(file: Path) -> str | None:
    for root in file.parents[:3]:
        note = root / ".cache" / "huggingface" / "download" / f"{file.relative_to(root)}.metadata"
        if note.is_file():
            lines = note.read_text(encoding="utf-8", errors="replace").splitlines()
            return lines[1] if len(lines) > 1 and _is_sum(lines[1]) else None
    return None


def _is_sum(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", text) is not None


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A file as it was when `models verify` found it right."""

    size: int
    mtime_ns: int
    sha256: str
    when: float
    """Seconds since 1970."""

    def fits(self, file: Path) -> bool:
        """Whether the file has the size and the time it had then."""
        now = file.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)


class Stamps:
    """The stamps of this machine, in one file of a cache folder: models may lie where nothing can be written."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, Stamp]:
        """All of them by the file's whole name; none where they cannot be read, which costs another `models verify`."""
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            return {name: Stamp(**fields) for name, fields in content.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def of(self, file: Path) -> Stamp | None:
        """The file's, if it has one."""
        return self.read().get(str(file.resolve()))

    def add(self, stamps: Mapping[Path, Stamp]) -> None:
        """Keep these beside the others; OSError where the folder cannot be written to."""
        kept = {name: asdict(stamp) for name, stamp in self.read().items()}
        kept |= {str(file.resolve()): asdict(stamp) for file, stamp in stamps.items()}
        make_folder(self.file.parent)
        with atomic_write(self.file) as temporary:
            temporary.write_text(json.dumps(kept, indent=1), encoding="utf-8")
