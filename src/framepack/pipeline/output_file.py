"""The file a job makes: where it goes, what it says of itself, and how its frames are kept until it is whole."""

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from framepack import __version__
from framepack.files.atomic import make_folder, require_new
from framepack.files.errors import MediaError
from framepack.media.archive import is_ours
from framepack.media.join import can_copy
from framepack.media.metadata import read_metadata
from framepack.pipeline.like import CONTENTS, fingerprints
from framepack.spec.formats import FORMATS, Coding
from framepack.spec.output import KNOWN, PICTURE, is_folder
from framepack.spec.request import GenerationRequest
from framepack.spec.sequence import BEFORE


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How settled frames are kept until the video is whole: `copies`, as the file will have them; else losslessly."""

    copies: bool
    format: str
    coding: Coding
    fps: float


def kept_as(request: GenerationRequest) -> Kept:
    """How the settled frames of a request are kept; at the model's own rate where frames are made between them."""
    output = request.output
    played = output.played(request.geometry.fps)
    timed = output.fps_mode != "repeat" and output.fps != played
    if can_copy(output.format, output.coding) and not timed and not request.finish.changes:
        return Kept(copies=True, format=output.format, coding=output.coding, fps=output.fps)
    coding = Coding(codec="ffv1-16" if output.wide else "ffv1")
    return Kept(copies=False, format="mkv", coding=coding, fps=float(played) if timed else output.fps)


def require_place(path: Path, request: GenerationRequest, *, own: bool) -> None:
    """ValueError where the video cannot go there. own: what is there is this job's, so that it may be replaced."""
    form = request.output.format
    if form not in KNOWN.get(path.suffix.lower(), (form,)):
        raise ValueError(f"{path.name} would hold {form}: leave output.format or output.path out")
    if path.is_dir() and is_folder(path, form):
        require_folder(path, replace=own or request.output.overwrite)
    elif path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    for used in files_of(request):
        if path.exists() and used.exists() and (path.samefile(used) or path.resolve() in used.resolve().parents):
            raise ValueError(f"{path} is a file the video is made from: give the video another name")
    if not own and not request.output.overwrite and not path.is_dir():
        require_new(path)


def files_of(request: GenerationRequest) -> list[Path]:
    """All files that a video is made from."""
    finish = request.finish
    files = [picture.file for picture in request.files.values()] + [lora.file for lora in request.loras]
    return files + [file for file in (finish.audio, finish.lut, finish.network) if file is not None]


def require_folder(path: Path, *, replace: bool) -> None:
    """ValueError where a folder has others' things in it, or pictures that may not be replaced; empty ones will do."""
    if not is_ours(path):
        raise ValueError(f"{path} has other things in it than numbered pictures: name a new folder")
    if any(path.iterdir()) and not replace:
        raise ValueError(
            f"{path} has pictures in it already: name another folder, or use --overwrite "
            "(output.overwrite in a request) to replace them"
        )


def metadata_of(request: GenerationRequest, before: int = 0) -> str:
    """What the file says of how it was made, without the maker's folders. before: a source's frames before the new."""
    shared = request.without_folders().to_store(exclude={"output": {"overwrite"}})
    beside = {BEFORE: before} if before else {}
    return json.dumps({"framepack": __version__, "request": shared, CONTENTS: fingerprints(request), **beside})


def is_made_of(path: Path, request: GenerationRequest) -> bool:
    """Whether the video at `path` says that it is this request's."""
    try:
        found = read_metadata(path) if path.exists() else None
        return found is not None and {**found, BEFORE: 0} == {**json.loads(metadata_of(request)), BEFORE: 0}
    except MediaError:
        return False


def part_of(path: Path, request: GenerationRequest) -> Path:
    """The file that plays all frames so far, beside `path`."""
    return path.with_name(f"{path.stem}.part{FORMATS[kept_as(request).format].suffix}")


def put_aside(part: Path) -> Path | None:
    """Give the part that another run has left the next free name, and return that; None where there is none.

    An empty one only keeps a name.
    """
    if not part.exists() or not part.stat().st_size:
        return None
    names = (part.with_stem(f"{part.stem}-{i}") for i in itertools.count(1))
    return part.rename(next(name for name in names if not name.exists()))


def dated_name(request: GenerationRequest, outputs: Path) -> Path:
    """A name no file has yet: the date, the time, the model. An empty part keeps it from others."""
    make_folder(outputs)
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{request.model}"
    suffix = PICTURE if request.still else FORMATS[request.output.format].suffix
    names = (outputs / f"{stem}{f'_{i}' if i else ''}{suffix}" for i in itertools.count())
    return next(name for name in names if is_free(name, outputs) and keep(part_of(name, request)))


def is_free(path: Path, outputs: Path) -> bool:
    """Whether no file, and no part of one, has this name."""
    return not path.exists() and not list(outputs.glob(f"{path.stem}.part.*"))


def keep(part: Path) -> bool:
    """Make the empty part; False where another process was faster."""
    with suppress(FileExistsError):
        part.touch(exist_ok=False)
        return True
    return False
