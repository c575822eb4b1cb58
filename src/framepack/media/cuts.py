"""How much of a request's pictures its video's shape cuts off, reported before the work. Sizes in, sentences out."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from framepack.media.clips import size_for
from framepack.media.edit import box_of
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

MUCH = 0.25
"""Share of a picture's area that may go without a word."""
PNG = b"\x89PNG\r\n\x1a\n"


def cuts(request: GenerationRequest, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """A sentence for each picture that loses much. sizes: width and height of the edited ones that are known."""
    if request.size is None and "start" not in sizes:
        return []
    start_width, start_height = sizes.get("start", (0, 0))
    height, width = request.size or size_for(request, start_height, start_width)
    return [
        f"{lost:.0%} of the picture {key!r} is cut off, as the video is {width}x{height}: the edits fit=pad and "
        "fit=blur keep all of it, focus=X/Y chooses what stays"
        for key, picture in request.pictures.items()
        if key in sizes and (lost := share_lost(picture, sizes[key], width / height)) > MUCH
    ]


def share_lost(picture: Picture, size: tuple[int, int], shape: float) -> float:
    """Of the area of an edited picture, what is cut for that width over height; 0 where its request chose the part."""
    if picture.fit != "crop" or picture.focus != (0.5, 0.5):
        return 0.0
    own = size[0] / size[1]
    return 1 - min(own, shape) / max(own, shape)


def sizes_of_pngs(request: GenerationRequest, find: Callable[[Path], Path]) -> dict[str, tuple[int, int]]:
    """Width and height after its edits of each picture that is a PNG, as uploads are, by its header alone.

    find: where a picture's file really is; ValueError where it may not be looked at.
    """
    sizes = {}
    for key, picture in request.pictures.items():
        with suppress(OSError, ValueError), find(picture.file).open("rb") as file:
            head = file.read(24)
            if head.startswith(PNG) and len(head) == 24:
                sizes[key] = size_after(picture, (int.from_bytes(head[16:20]), int.from_bytes(head[20:])))
    return sizes


def size_after(picture: Picture, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height once a picture of that size is turned and cropped. ValueError where the crop keeps nothing."""
    width, height = size[::-1] if picture.rotate in (90, 270) else size
    if picture.crop is None:
        return width, height
    left, top, right, bottom = box_of(picture, (width, height))
    return right - left, bottom - top
