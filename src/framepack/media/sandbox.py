"""Files from strangers, decoded in a child process with limits; this is the parent's half.

A decoder that crashes, hangs, or eats memory takes the child with it and nothing else. The child gets the open file and
no other (`sandbox_child`), and answers with one line of JSON and raw bytes: nothing is unpickled.
"""

import json
import math
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from framepack.files.child import NOTHING, PIPE, bare_environment, start
from framepack.files.errors import MediaError
from framepack.media.editors import SEQUENCE, library
from framepack.media.frames import Still, Which
from framepack.media.image import MAX_PIXELS, ImageRGB
from framepack.media.inspection import Inspection
from framepack.media.read import VideoInfo
from framepack.media.sinks import Frame
from framepack.media.source import name_of, open_source
from framepack.spec.sequence import VideoSequence

HEADER_BYTES = 2_000_000
"""The longest answer but for pixels: 1 MB of metadata, escaped."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use; beyond it, it is stopped and the file refused."""

    seconds: int = 20
    memory_bytes: int = 2 << 30
    """Address space, so libraries count: 0.5 GB of it is used before decoding."""
    output_bytes: int = 3 * MAX_PIXELS


DEFAULT = Limits()
STREAM = Limits(memory_bytes=4 << 30)
SOUND = Limits(seconds=60, output_bytes=1 << 30)
STREAMED = 100
"""Times the seconds of a frame, that a whole video may take of a processor."""


def decode_untrusted_image(source: Path | str | bytes, limits: Limits = DEFAULT) -> ImageRGB:
    """As `image.load_image`, in a child: (H, W, 3) uint8. Raises MediaError for whatever goes wrong."""
    answer, pixels = _ask("image", source, limits)
    return _array(answer["shape"], pixels, name_of(source))


def probe_untrusted_video(source: Path | str | bytes, limits: Limits = DEFAULT) -> VideoInfo:
    """As `read.probe`, in a child."""
    answer, _ = _ask("probe", source, limits)
    return VideoInfo(**{**answer, "fps": Fraction(answer["fps"])})


def read_untrusted_metadata(source: Path | str | bytes, limits: Limits = DEFAULT) -> dict[str, Any] | None:
    """As `metadata.read_metadata`, in a child. The result is a stranger's data: validate it before use."""
    answer, _ = _ask("metadata", source, limits)
    return answer["metadata"]


def decode_untrusted_video(
    source: Path | str | bytes,
    *,
    count: int,
    tail: bool = False,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    limits: Limits = DEFAULT,
) -> np.ndarray:
    """The first `count` frames (with `tail` the last) of a video, in a child: (T, H, W, 3) uint8.

    `fps` resamples by time stamps; `size` (width, height) crops each frame as `image.bucket_crop` does.
    """
    answer, pixels = _ask("video", source, limits, count=count, tail=tail, fps=fps, size=size)
    return _array(answer["shape"], pixels, name_of(source))


def stream_untrusted_video(
    source: Path | str | bytes, *, fps: float | None = None, limits: Limits = STREAM
) -> Iterator[Frame]:
    """All frames (H, W, 3) uint8 as `read.read_video` yields them, one after another, from a child.

    Closing the generator stops the child. limits: the seconds are for each frame, and for the whole file a hundred
    times as many. Raises MediaError for whatever goes wrong, where the frames end.
    """
    name = name_of(source)
    order = order_of("stream", name, replace(limits, seconds=STREAMED * limits.seconds), fps=fps)
    with ExitStack() as stack:
        file = stack.enter_context(opened(source))
        child = stack.enter_context(started(order, file))
        stack.callback(child.kill)
        while True:
            with stopping(child, limits.seconds) as late:
                answer = json.loads(child.stdout.readline(HEADER_BYTES) or b"{}")
                shape = answer.get("shape", [0])
                pixels = child.stdout.read(math.prod(shape))
            if late.is_set():
                raise MediaError(f"{name} took more than {limits.seconds} s for a frame: use another file")
            if "error" in answer:
                raise MediaError(str(answer["error"]))
            if "end" in answer:
                return
            yield _array(shape, pixels, name)


def still_of_untrusted_video(
    source: Path | str | bytes,
    name: str,
    *,
    which: Which | None = None,
    at: float | None = None,
    limits: Limits = DEFAULT,
) -> tuple[Still, str]:
    """As `frames.still`, in a child; and what `frames.described` says of it, its video being called `name`."""
    answer, pixels = _ask("still", source, limits, which=which, at=at, name=name)
    array = _array(answer["shape"], pixels, name_of(source))
    return Still(pixels=array, **answer["place"]), answer["metadata"]


def sound_of_untrusted_video(source: Path | str | bytes, limits: Limits = SOUND) -> bytes:
    """As `source_sound.taken`, in a child."""
    answer, data = _ask("sound", source, limits)
    if len(data) != answer["bytes"]:
        raise MediaError(f"the sound of {name_of(source)} could not be read: use another file")
    return data


def inspect_untrusted(source: Path | str | bytes, limits: Limits = DEFAULT) -> Inspection:
    """As `inspection.inspect_file`, in a child. The request in it is a stranger's data: validate it before use."""
    answer, _ = _ask("inspect", source, limits)
    return Inspection(**answer)


def read_untrusted_timeline(source: Path | str | bytes, suffix: str, limits: Limits = DEFAULT) -> VideoSequence:
    """As `editors_read.read_timeline`, in a child. The request in it is a stranger's data: validate it before use."""
    library()
    answer, _ = _ask("timeline", source, limits, suffix=suffix)
    return SEQUENCE.validate_python(answer["sequence"])


def _ask(task: str, source: Path | str | bytes, limits: Limits, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """Runs `task` in a child on `source`: its answer, and the bytes after it."""
    name = name_of(source)
    with opened(source) as file:
        output, code, late = _run(order_of(task, name, limits, **arguments), file, limits)
    line, found, pixels = output.partition(b"\n")
    if late:
        raise MediaError(f"{name} took more than {limits.seconds} s to decode: make it smaller or use another file")
    if not found or len(output) > limits.output_bytes + HEADER_BYTES:
        raise MediaError(
            f"{name} could not be decoded within the limits (decoder stopped, code {code}): use another file"
        )
    answer = json.loads(line)
    if "error" in answer:
        raise MediaError(str(answer["error"]))
    return answer, pixels


def order_of(task: str, name: str, limits: Limits, /, **arguments: Any) -> str:
    """What a child is told."""
    return json.dumps({"task": task, "name": name, "limits": asdict(limits), "arguments": arguments})


@contextmanager
def opened(source: Path | str | bytes) -> Iterator[Any]:
    """A file with a number for a child, at its beginning."""
    with ExitStack() as stack:
        if isinstance(source, bytes):
            file: Any = stack.enter_context(tempfile.TemporaryFile())
            file.write(source)
            file.flush()
        else:
            file = stack.enter_context(open_source(source))
        file.seek(0)
        yield file


def started(order: str, file: Any) -> Any:
    """A child at work on an open file, for a `with`."""
    command = [sys.executable, "-P", "-s", "-m", "framepack.media.sandbox_child", order]
    return start(command, stdin=file, stdout=PIPE, stderr=NOTHING, env=bare_environment())


@contextmanager
def stopping(child: Any, seconds: float) -> Iterator[threading.Event]:
    """Kills the child after so many seconds, and then says so."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _run(order: str, file: Any, limits: Limits) -> tuple[bytes, int, bool]:
    """The child's output (at most what the limits allow, and one byte), its exit code, and whether time ran out."""
    with started(order, file) as child, stopping(child, limits.seconds) as late:
        try:
            output = child.stdout.read(limits.output_bytes + HEADER_BYTES + 1)
        finally:
            child.kill()
    return output, child.returncode, late.is_set()


def _array(shape: list[int], pixels: bytes, name: str) -> np.ndarray:
    if len(pixels) != int(np.prod(shape, dtype=np.int64)) or not pixels:
        raise MediaError(f"{name} could not be decoded (its decoder stopped half-way): use another file")
    return np.frombuffer(pixels, np.uint8).reshape(shape)
