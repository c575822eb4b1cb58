"""Steps of `spec.finish` on frames in the order of time, by FFmpeg's filters: one frame in, one frame out.

No files but a colour table. Frames wait in a filter only as long as it looks ahead, so memory does not grow.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import av
import av.filter
import numpy as np
from av.error import BlockingIOError as Starving
from av.error import EOFError as Ended
from av.error import FFmpegError

from framepack.files.errors import MediaError, reason
from framepack.media.cube import check_cube
from framepack.media.sinks import Frame
from framepack.spec.finish import Finish

Filters = list[tuple[str, dict[str, str]]]
"""Names and options, in their order."""
RED, GREEN, BLUE = 0.2126, 0.7152, 0.0722
"""Shares of brightness, BT.709."""
WARM = 0.2
"""By how much red grows and blue shrinks at a warmth of 1."""
GRAIN_MOST = 40
"""FFmpeg's strength of noise at a grain of 1."""
STILL, MOVING = 0.16, 0.32
"""At a denoise of 1: how much of full scale a pixel may differ from its neighbour in time, and all of them together."""
REACH = 9
"""Frames over which noise is averaged."""


def filters_before(finish: Finish) -> Filters:
    """What is done at the size the frames have."""
    steps: Filters = []
    if finish.deflicker > 1:
        steps += [("format", {"pix_fmts": "yuv444p"}), ("deflicker", {"size": str(finish.deflicker), "mode": "am"})]
    if finish.denoise:
        planes = {f"{plane}a": f"{STILL * finish.denoise:.5f}" for plane in range(3)}
        planes |= {f"{plane}b": f"{MOVING * finish.denoise:.5f}" for plane in range(3)}
        steps += [("format", {"pix_fmts": "gbrp"}), ("atadenoise", {**planes, "s": str(REACH)})]
    return steps


def filters_after(finish: Finish) -> Filters:
    """What is done at the size the frames have in the end."""
    steps: Filters = []
    if finish.sharpen:
        # in 8 bits it rounds down, which darkens by a level
        steps += [("format", {"pix_fmts": "gbrp16le"}), ("cas", {"strength": f"{finish.sharpen:.5f}"})]
    steps += colours(finish)
    if finish.grain:
        noise = {"c0s": str(max(round(GRAIN_MOST * finish.grain), 1)), "c0f": "t", "all_seed": "1"}
        steps += [("format", {"pix_fmts": "yuv444p"}), ("noise", noise)]
    return steps


def colours(finish: Finish) -> Filters:
    """Levels, then saturation, then the colour table."""
    steps: Filters = []
    if (finish.exposure, finish.contrast, finish.warmth) != (0.0, 1.0, 0.0):
        gains = {"r": 1 + WARM * finish.warmth, "g": 1.0, "b": 1 - WARM * finish.warmth}
        levels = {name: levels_of(finish, gain) for name, gain in gains.items()}
        steps += [("format", {"pix_fmts": "gbrp"}), ("lutrgb", levels)]
    if finish.saturation != 1:
        steps += [("format", {"pix_fmts": "gbrp"}), ("colorchannelmixer", mixed(finish.saturation))]
    if finish.lut is not None:
        check_cube(finish.lut)
        steps += [("format", {"pix_fmts": "gbrp"}), ("lut3d", {"file": str(finish.lut.absolute())})]
    return steps


def levels_of(finish: Finish, gain: float) -> str:
    """FFmpeg's expression of one colour's levels, 0..255, rounded."""
    lit = f"val*{gain * 2.0**finish.exposure:.9f}"
    return f"floor(clip(({lit}-127.5)*{finish.contrast:.9f}+127.5,0,255)+0.5)"


def mixed(saturation: float) -> dict[str, str]:
    """Each colour as a mix of all three that keeps the brightness."""
    shares = {"r": RED, "g": GREEN, "b": BLUE}
    return {
        f"{to}{of}": f"{share * (1 - saturation) + (saturation if to == of else 0):.9f}"
        for to in shares
        for of, share in shares.items()
    }


def scaled(size: tuple[int, int]) -> Filters:
    """To (width, height), by Lanczos."""
    how = {"w": str(size[0]), "h": str(size[1]), "flags": "lanczos+accurate_rnd+full_chroma_int"}
    return [("format", {"pix_fmts": "gbrp"}), ("scale", how)]


def reach_of(finish: Finish) -> int:
    """How many frames the steps of `filters_before` look around themselves."""
    return max(finish.deflicker if finish.deflicker > 1 else 0, REACH // 2 if finish.denoise else 0)


def steadied(frames: Iterable[Frame], filters: Filters, fps: Fraction, reach: int) -> Iterator[Frame]:
    """As `filtered`, for filters that look `reach` frames around themselves: the video's ends are mirrored for them.

    Without, FFmpeg's filters know less and less at the end, and its last frame is as noisy and as dark as it was.
    """
    frames = iter(frames)
    head = list(islice(frames, reach + 1))
    if not filters or not head:
        yield from filtered(chain(head, frames), filters, fps)
        return
    last: deque[Frame] = deque(maxlen=reach + 1)

    def mirrored() -> Iterator[Frame]:
        yield from reversed(bounced(head, reach))
        for frame in chain(head, frames):
            last.append(frame)
            yield frame
        yield from bounced(list(last)[::-1], reach)

    waiting: deque[Frame] = deque()
    for frame in islice(filtered(mirrored(), filters, fps), reach, None):
        waiting.append(frame)
        if len(waiting) > reach:
            yield waiting.popleft()


def bounced(frames: list[Frame], count: int) -> list[Frame]:
    """`count` frames from the second on, and back again where there are fewer; one alone stands for all."""
    there_and_back = [*frames[1:], *frames[-2::-1]] or frames
    return [there_and_back[number % len(there_and_back)] for number in range(count)]


def filtered(frames: Iterable[Frame], filters: Filters, fps: Fraction) -> Iterator[Frame]:
    """`frames` (H, W, 3) through `filters`: as many come out as go in. Without filters they are the same objects.

    Raises MediaError for options that a filter refuses, such as a colour table that is none.
    """
    if not filters:
        yield from frames
        return
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    graph = Chain(first.shape[1], first.shape[0], filters, fps)
    for number, frame in enumerate(chain([first], frames)):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = number, 1 / fps
        graph.source.push(picture)
        yield from graph.ready()
    graph.source.push(None)
    yield from graph.ready()


class Chain:
    """Filters between a source of RGB frames and a sink of such."""

    def __init__(self, width: int, height: int, filters: Filters, fps: Fraction) -> None:
        self.graph = graph = av.filter.Graph()
        graph.threads = 1  # the same frames on every machine
        rgb = av.VideoFormat("rgb24", width, height)
        try:
            self.source: Any = graph.add_buffer(width=width, height=height, format=rgb, time_base=1 / fps)
            steps: list[Any] = [graph.add(name, **options) for name, options in filters]
            steps += [graph.add("format", pix_fmts="rgb24"), graph.add("buffersink")]
            for before, after in zip([self.source, *steps], steps, strict=False):
                before.link_to(after)
            graph.configure()
        except (FFmpegError, ValueError) as error:
            files = {name: f"{name} of '{options['file']}'" for name, options in filters if "file" in options}
            names = ", ".join(files.get(name, name) for name, _ in filters if name != "format")
            raise MediaError(
                f"the steps {names} cannot be done ({reason(error)}): check their values and files"
            ) from error
        self.sink = steps[-1]

    def ready(self) -> Iterator[Frame]:
        """The frames that are done by now."""
        while True:
            try:
                picture = self.sink.pull()
            except (Starving, Ended):
                return
            yield picture.to_ndarray(format="rgb24")
