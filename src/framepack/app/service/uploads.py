"""Files from strangers: decoded in a child process with limits, kept under random names, refused in a sentence.

A picture is written again from its pixels, so nothing else that the file held survives. A video, or an animation, is
kept as it came, once the child has read it; settings inside it are returned.
"""

import io
import os
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from framepack.app.service.paths import for_client
from framepack.files.atomic import atomic_write
from framepack.files.durable import move
from framepack.files.errors import MediaError
from framepack.jobs.folders import Folders
from framepack.media.image import encode_image
from framepack.media.sandbox import (
    decode_untrusted_image,
    decode_untrusted_video,
    probe_untrusted_video,
    read_untrusted_metadata,
    still_of_untrusted_video,
)
from framepack.media.sheet import thumbnail
from framepack.media.source import kind_of
from framepack.spec.model import RequestError
from framepack.spec.request import GenerationRequest

T = TypeVar("T")
IMAGE_LIMIT = 64 * 2**20
VIDEO_LIMIT = 2 * 2**30
VIDEOS = {"mp4": ".mp4", "mkv": ".mkv", "avi": ".avi", "zip": ".zip"}
"""Kinds that are videos, and the suffix each gets; webm is a kind of mkv."""
ANIMATED = {"gif": ".gif", "webp": ".webp", "apng": ".apng"}
"""Kinds of pictures that may be animations, and the suffix of those that are; a task takes them for videos."""
LONGEST = 4096
"""Pixels a picture keeps at most on its longer side; no video is larger."""
UNUSED_MOST = 16 * 2**30
"""Bytes that uploads may have which no job uses; they are dropped a day after they came."""
UNFINISHED = re.compile(r"\.[0-9a-f]{24}\.part")
"""The name of a file on its way."""
LOOK_EVERY = 64 * 2**20
"""Bytes of an upload after which is looked again whether it may go on."""
AT_ONCE = threading.BoundedSemaphore(2)
"""Decoding children at a time."""


class TooLarge(ValueError):  # noqa: N818 - reads as the sentence it is
    """An upload beyond its limit."""


class NoRoom(ValueError):  # noqa: N818 - reads as the sentence it is
    """The disk cannot take an upload."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that was accepted. `id` names it in requests; sizes are pixels, `seconds` None for a picture.

    An animation is a video where one is needed, and its first frame where a picture is.
    """

    id: str
    kind: Literal["picture", "video", "animation"]
    width: int
    height: int
    seconds: float | None = None
    request: dict[str, Any] | None = None
    """The settings a video of ours was made with."""


class Incoming:
    """One file on its way: `write` counts, `accept` checks. Use it in a `with`; what is not accepted is dropped.

    `name` is what its sender calls it.
    """

    def __init__(self, folders: Folders, name: str = "") -> None:
        self._folders, self.name = folders, name
        self._id = secrets.token_hex(12)
        self.file = folders.uploads / f".{self._id}.part"
        self._out = self.file.open("xb")
        self._head, self._size, self._look_at = b"", 0, 0

    def __enter__(self) -> "Incoming":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()
        self.file.unlink(missing_ok=True)

    def write(self, block: bytes) -> None:
        """Take the next bytes; TooLarge or NoRoom before any are written that should not be."""
        if len(self._head) < 16:
            self._head = (self._head + block)[:16]
        self._size += len(block)
        limit, what = self.bounds(self._head)
        if self._size > limit:
            raise TooLarge(f"{what} may have {limit // 2**20} MB; use a smaller file")
        if self._folders.full():
            raise NoRoom("the disk is full, so nothing can be uploaded; free some space")
        if self._size > self._look_at:
            self._look_at = self._size + LOOK_EVERY
            require_spare(self._folders)
        self._out.write(block)

    def bounds(self, head: bytes) -> tuple[int, str]:
        """Bytes a file that begins with these 16 may have, and what it is called."""
        return (VIDEO_LIMIT, "a video") if kind_of(io.BytesIO(head)) in VIDEOS else (IMAGE_LIMIT, "a picture")

    def accept(self) -> Upload:
        """Check the whole file and give it its name; MediaError for what is no picture or video."""
        self._out.close()
        with self.file.open("rb") as file:
            kind = kind_of(file)
        with AT_ONCE:
            if kind in ANIMATED and is_animation(self.file):
                return self._video(ANIMATED[kind])
            return self._video(VIDEOS[kind]) if kind in VIDEOS else self._picture()

    def _picture(self) -> Upload:
        picture = checked(decode_untrusted_image, self.file)
        if max(picture.shape[:2]) > LONGEST:
            picture = thumbnail(picture, LONGEST)
        settings = settings_in(self.file)
        self.file.write_bytes(encode_image(picture, "png"))
        name = self._named(".png")
        return Upload(id=name, kind="picture", width=picture.shape[1], height=picture.shape[0], request=settings)

    def _video(self, suffix: str) -> Upload:
        info = checked(probe_untrusted_video, self.file)
        checked(lambda file: decode_untrusted_video(file, count=1), self.file)
        settings = settings_in(self.file)
        size = {"width": info.width, "height": info.height}
        kind = "animation" if suffix in ANIMATED.values() else "video"
        return Upload(id=self._named(suffix), kind=kind, **size, seconds=info.duration, request=settings)

    def _named(self, suffix: str) -> str:
        name = f"{self._id}{suffix}"
        move(self.file, self._folders.uploads / name)
        return name


def is_animation(file: Path) -> bool:
    """Whether a picture has more than one frame; not where it cannot be read as a video."""
    try:
        return probe_untrusted_video(file).frames > 1
    except MediaError:
        return False


def still_upload(file: Path) -> Path:
    """An animation's first frame as a picture of its own among the uploads, made once. MediaError where it is none.

    A worker decodes pictures itself, so it gets none that a stranger wrote.
    """
    still = file.with_suffix(".png")
    if not still.exists():
        with AT_ONCE:
            picture = checked(decode_untrusted_image, file)
        with atomic_write(still) as temporary:
            temporary.write_bytes(encode_image(thumbnail(picture, LONGEST), "png"))
    return still


def drop_unfinished(folders: Folders) -> None:
    """Drop files that were on their way when a service was killed; for the one service that takes such files."""
    for file in folders.uploads.glob(".*.part"):
        if UNFINISHED.fullmatch(file.name):
            file.unlink(missing_ok=True)


def require_spare(folders: Folders) -> None:
    """NoRoom where uploads that no job uses have all the bytes they may have together."""
    sizes = {Path(entry.path): entry.stat().st_size for entry in os.scandir(folders.uploads) if entry.is_file()}
    if sum(sizes.values()) <= UNUSED_MOST:
        return
    used = folders.used()
    if sum(size for file, size in sizes.items() if file not in used) > UNUSED_MOST:
        raise NoRoom(
            f"uploads that no job uses take {UNUSED_MOST / 2**30:g} GB already; use them in jobs, or wait until they "
            "are deleted, a day after their upload"
        )


def checked(read: Callable[[Path], T], file: Path) -> T:
    """What `read` makes of the file; its refusal speaks of "the file", as the sender does not know our name for it."""
    try:
        return read(file)
    except MediaError as error:
        raise MediaError(str(error).replace(f"'{file}'", "the file")) from error


def settings_in(file: Path) -> dict[str, Any] | None:
    """The request a file of ours carries, with bare names for paths; None where there is none that holds today."""
    try:
        found = read_untrusted_metadata(file)
        request = GenerationRequest.stored(found["request"]) if found and "request" in found else None
    except (MediaError, RequestError):
        return None
    return for_client(request.model_dump(mode="json")) if request else None


def small_picture(file: Path, longest: int = 256) -> bytes:
    """A JPEG thumbnail of any picture, or of a video's first frame; MediaError where it is neither."""
    with file.open("rb") as opened:
        video = kind_of(opened) in VIDEOS
    read = partial(still_of_untrusted_video, name=file.name, which="first") if video else decode_untrusted_image
    with AT_ONCE:
        found = checked(read, file)
        return encode_image(thumbnail(found[0].pixels if isinstance(found, tuple) else found, longest), "jpeg")
