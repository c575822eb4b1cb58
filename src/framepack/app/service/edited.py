"""A picture, or a video's first frame, as a video will have it: edited, brought to the video's size. For looking at.

Decoded as a stranger's.
"""

from functools import lru_cache
from pathlib import Path

from framepack.app.service.uploads import AT_ONCE, VIDEOS, checked
from framepack.media.clips import size_for
from framepack.media.edit import edited, fitted
from framepack.media.image import ImageRGB
from framepack.media.sandbox import decode_untrusted_image, still_of_untrusted_video
from framepack.media.sheet import thumbnail
from framepack.media.source import kind_of
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


def as_used(picture: Picture, video: GenerationRequest | None, longest: int | None) -> tuple[ImageRGB, tuple[int, int]]:
    """The edited picture as `video` uses it, at most `longest` pixels long; and its (height, width) before that.

    Without a video it keeps its own shape. `video.image` decides the size where the video names none, as it does in
    generation. Raises MediaError for what is no picture.
    """
    with AT_ONCE:
        pixels = edited(checked(first_frame, picture.file), picture)
        if video is not None:
            shape = pixels.shape[:2] if picture == video.image else None
            height, width = video.size or size_for(video, *(shape or shape_of(video.image)))
            pixels = fitted(pixels, picture, width, height)
        size = pixels.shape[0], pixels.shape[1]
        return (pixels if longest is None else thumbnail(pixels, longest)), size


def first_frame(file: Path) -> ImageRGB:
    """The pixels of a picture, or of a video's first frame. Raises MediaError for what is neither."""
    with file.open("rb") as opened:
        video = kind_of(opened) in VIDEOS
    return still_of_untrusted_video(file, file.name, which="first")[0].pixels if video else decode_untrusted_image(file)


def shape_of(picture: Picture) -> tuple[int, int]:
    """(height, width) of the edited picture; looked at once for each state of its file."""
    return _shape(picture, picture.file.stat().st_mtime_ns)  # type: ignore[arg-type]  # frozen, so it has a hash


@lru_cache(maxsize=500)
def _shape(picture: Picture, stamp: int) -> tuple[int, int]:
    pixels = edited(checked(first_frame, picture.file), picture)
    return pixels.shape[0], pixels.shape[1]
