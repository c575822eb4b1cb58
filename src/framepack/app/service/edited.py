"""A picture as a video will have it: decoded as a stranger's, edited, brought to the video's size. For looking at."""

from functools import lru_cache

from framepack.app.service.uploads import AT_ONCE, checked
from framepack.media.edit import edited, fitted
from framepack.media.image import ImageRGB
from framepack.media.sandbox import decode_untrusted_image
from framepack.media.sheet import thumbnail
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


def as_used(picture: Picture, video: GenerationRequest | None, longest: int | None) -> tuple[ImageRGB, tuple[int, int]]:
    """The edited picture as `video` uses it, at most `longest` pixels long; and its (height, width) before that.

    Without a video it keeps its own shape. `video.image` decides the size where the video names none, as it does in
    generation. Raises MediaError for what is no picture.
    """
    with AT_ONCE:
        pixels = edited(checked(decode_untrusted_image, picture.file), picture)
        if video is not None:
            shape = pixels.shape[:2] if picture == video.image else None
            height, width = video.size or video.size_for(*(shape or shape_of(video.image)))
            pixels = fitted(pixels, picture, width, height)
        size = pixels.shape[0], pixels.shape[1]
        return (pixels if longest is None else thumbnail(pixels, longest)), size


def shape_of(picture: Picture) -> tuple[int, int]:
    """(height, width) of the edited picture; looked at once for each state of its file."""
    return _shape(picture, picture.file.stat().st_mtime_ns)  # type: ignore[arg-type]  # frozen, so it has a hash


@lru_cache(maxsize=500)
def _shape(picture: Picture, stamp: int) -> tuple[int, int]:
    pixels = edited(checked(decode_untrusted_image, picture.file), picture)
    return pixels.shape[0], pixels.shape[1]
