"""`framepack.finish` and `framepack.convert`: a file that is there once more, with steps or in another format.

What is done is `media.finishing`'s; this brings torch to it only where a network is wanted.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.files.atomic import make_folder, require_new, require_writable, sweep_parts
from framepack.media.credentials import carry_over, drop_sidecar
from framepack.media.finishing import Enlarge, Progress, metadata_after, said_before, write_finished
from framepack.media.footage import footage_of
from framepack.media.read import reading
from framepack.media.video import format_of
from framepack.spec.finish import FileFinish, Finish, check_sound
from framepack.spec.formats import FORMATS
from framepack.spec.ignored import ignored_coding
from framepack.spec.output import FileCoding, FileOutput, is_folder

if TYPE_CHECKING:
    from framepack.memory import MemoryManager

OTHERS_WRITE = 600.0
"""Seconds for which a temporary file of this name is another run's that may be at work on it."""


def finish_video(
    file: Path | str,
    steps: FileFinish | Mapping[str, Any],
    output: Path | str | None = None,
    *,
    device: str = "auto",
    **settings: Any,
) -> Generator[Progress | str]:
    """Do `steps` to the frames of `file` and write them to `output`, by default `NAME-finished` beside it.

    settings: the new file's, fields of `FileOutput`: `codec="h265"`, `fps=60`, `overwrite=True`. Yields notices as
    text, and how far it is after each frame; closing it leaves nothing. Settings, mark, credentials and, where nothing
    is joined, the sound of the file go along. Raises ValueError for wrong steps and a file that is there already,
    MediaError for a file that cannot be read, DiskFullError.
    """
    file = require_video(file)
    finish = steps if isinstance(steps, FileFinish) else FileFinish.model_validate(dict(steps))
    wanted = named(FileOutput.model_validate({"path": output, **settings}), file, "finished")
    yield from written_anew(file, finish, wanted, device)


def convert_video(file: Path | str, output: Path | str | None = None, **settings: Any) -> Generator[Progress | str]:
    """Write `file` to `output`, whose name says the format, by default to NAME with the ending of
    `format` beside it.

    settings, what is yielded and raised: as in `finish_video`. `convert_video("a.mp4", "a.mov", fps=60)`.
    """
    file = require_video(file)
    wanted = FileOutput.model_validate({"path": output, **settings})
    if output is None and "format" not in settings:
        raise ValueError("name the new file (--output), or its format (--format)")
    yield from written_anew(file, FileFinish(), named(wanted, file, "converted"))


def require_video(file: Path | str) -> Path:
    """MediaError for what is none, before a name is made of the file's."""
    with reading(Path(file)):
        return Path(file)


def written_anew(file: Path, finish: FileFinish, output: FileOutput, device: str = "auto") -> Generator[Progress | str]:
    """The work of both; `output` has a path."""
    assert output.path is not None
    path = output.path
    check_sound(finish, output.format)
    make_folder(path.parent)
    require_writable(path)
    for used in (file, *finish.join, finish.audio, finish.lut, finish.network):
        if used is not None and path.exists() and used.exists() and path.samefile(used):
            which = "the video itself" if used == file else "a file it is made from"
            raise ValueError(f"{path} is {which}: give the result another name")
    if not output.overwrite:
        require_new(path)
    footage = footage_of(file, finish, output)
    enlarge = enlarger(finish, device)
    sweep_parts(path.parent, unwritten=OTHERS_WRITE, names={path.name})
    yield from said_before(footage, finish, output)
    yield from ignored(finish, output)
    metadata = metadata_after(file, finish, output)
    yield from write_finished(footage, finish, path, output=output, metadata=metadata, enlarge=enlarge)
    drop_sidecar(path)
    if said := carry_over(file, path):
        yield said


def finish(file: Path | str, output: Path | str | None = None, **steps: Any) -> Path:
    """`finish_video` in one call: `framepack.finish("night.mp4", enlarge=2, grain=0.2)`. Returns the file."""
    how = {name: steps.pop(name) for name in ("device", *FileOutput.model_fields) if name in steps}
    for _ in finish_video(file, steps, output, **how):
        pass
    settings = {name: value for name, value in how.items() if name != "device"}
    return finished_path(file, output, settings, "finished")


def convert(file: Path | str, output: Path | str | None = None, **settings: Any) -> Path:
    """`convert_video` in one call: `framepack.convert("a.mp4", "a.mov", codec="prores4444")`. Returns the file."""
    for _ in convert_video(file, output, **settings):
        pass
    return finished_path(file, output, settings, "converted")


def finished_path(file: Path | str, output: Path | str | None, settings: Mapping[str, Any], what: str) -> Path:
    """Where the result is."""
    path = named(FileOutput.model_validate({"path": output, **settings}), Path(file), what).path
    assert path is not None
    return path


def named(output: FileOutput, file: Path, what: str) -> FileOutput:
    """With a path: `NAME-finished` or so beside `file` where nobody says one. ValueError for one without an ending."""
    if output.path is not None:
        if not output.path.suffix and not is_folder(output.path, output.format):
            format_of(output.path)
        return output
    said = "format" in output.model_fields_set
    suffix = FORMATS[output.format].suffix if said else file.suffix or FORMATS["png"].suffix
    other = what == "converted" and suffix != file.suffix
    path = file.with_name(f"{file.stem}{'' if other else f'-{what}'}{suffix}")
    return FileOutput.model_validate({**output.model_dump(exclude_unset=True), "path": path})


def ignored(steps: Finish, output: FileCoding) -> list[str]:
    """A sentence for each step and setting without effect."""
    said = ignored_coding(output)
    if steps.network is not None and steps.enlarge == 1:
        said.append(f"network {steps.network.name} has no effect: enlarge is 1, say how much larger")
    if steps.deflicker == 1:
        said.append("deflicker 1 has no effect: brightness is evened out over 2 frames or more")
    return said


@contextmanager
def lent_enlarger(steps: Finish, memory: "MemoryManager") -> Iterator[Enlarge | None]:
    """As `enlarger`, the network being in the care of `memory` until the block ends."""
    enlarge = enlarger(steps, memory=memory)
    try:
        yield enlarge
    finally:
        if enlarge is not None:
            from framepack.pipeline.stages.upscale import NAME

            memory.remove(NAME)


def network_used(steps: Finish) -> Path | None:
    """The file of the network that enlarges; None where none does."""
    return None if steps.enlarge == 1 else steps.network


def enlarger(steps: Finish, device: str = "auto", memory: "MemoryManager | None" = None) -> Enlarge | None:
    """The network's work on a frame; None where there is none to do. memory: whose device is used, and that lends it.

    MediaError for a file that is no such network.
    """
    file = network_used(steps)
    if file is None:
        return None
    from framepack.memory import MemoryManager
    from framepack.pipeline.device import choose_device
    from framepack.pipeline.enlarge import network_of

    return network_of(file, memory or MemoryManager(choose_device(device)))
