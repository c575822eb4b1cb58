"""`framepack.finish`: steps on the frames of a file that is there, and the network that enlarges, loaded and lent.

What is done is `media.finishing`'s; this brings torch to it only where a network is wanted.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepack.files.atomic import make_folder, require_new, sweep_parts
from framepack.media.finishing import Enlarge, Progress, footage_of, metadata_after, write_finished
from framepack.media.video import format_of
from framepack.spec.finish import FileFinish, Finish, check_sound
from framepack.spec.formats import Coding

if TYPE_CHECKING:
    from framepack.memory import MemoryManager

OTHERS_WRITE = 600.0
"""Seconds for which a temporary file of this name is another run's that may be at work on it."""


def finish_video(
    file: Path | str,
    steps: FileFinish | Mapping[str, Any],
    output: Path | str | None = None,
    *,
    crf: int = 16,
    overwrite: bool = False,
    device: str = "auto",
) -> Generator[Progress | str]:
    """Do `steps` to the frames of `file` and write them to `output`, by default `NAME-finished` beside it.

    Yields notices as text, and how far it is after each frame; closing it leaves nothing. Settings, mark and, where
    nothing is joined, the sound of the file go along. Raises ValueError for wrong steps, a file that is there already
    and steps that change nothing, MediaError for a file that cannot be read, DiskFullError.
    """
    file = Path(file)
    finish = steps if isinstance(steps, FileFinish) else FileFinish.model_validate(dict(steps))
    path = default_output(file) if output is None else Path(output)
    format_ = format_of(path)
    coding = Coding(crf=crf)
    check_sound(finish, format_)
    if path.exists() and file.exists() and path.samefile(file):
        raise ValueError(f"{path} is the video itself: give the result another name")
    if not overwrite:
        require_new(path)
    footage = footage_of(file, finish)
    enlarge = enlarger(finish, device)
    make_folder(path.parent)
    sweep_parts(path.parent, unwritten=OTHERS_WRITE, names={path.name})
    yield from footage.notices
    yield from ignored(finish)
    metadata = metadata_after(file, finish)
    yield from write_finished(footage, finish, path, format_=format_, coding=coding, metadata=metadata, enlarge=enlarge)


def finish(file: Path | str, output: Path | str | None = None, **steps: Any) -> Path:
    """`finish_video` in one call: `framepack.finish("night.mp4", enlarge=2, grain=0.2)`. Returns the file."""
    how = {name: steps.pop(name) for name in ("crf", "overwrite", "device") if name in steps}
    for _ in finish_video(file, steps, output, **how):
        pass
    return default_output(Path(file)) if output is None else Path(output)


def default_output(file: Path) -> Path:
    """Where the result goes when nobody says it."""
    return file.with_stem(f"{file.stem}-finished")


def ignored(steps: Finish) -> list[str]:
    """A sentence for each step without effect."""
    said = []
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
            from framepack.pipeline.enlarge import NAME

            memory.remove(NAME)


def enlarger(steps: Finish, device: str = "auto", memory: "MemoryManager | None" = None) -> Enlarge | None:
    """The network's work on a frame; None where there is none to do. memory: whose device is used, and that lends it.

    MediaError for a file that is no such network.
    """
    if steps.network is None or steps.enlarge == 1:
        return None
    from framepack.memory import MemoryManager
    from framepack.pipeline.device import choose_device
    from framepack.pipeline.enlarge import network_of

    return network_of(steps.network, memory or MemoryManager(choose_device(device)))
