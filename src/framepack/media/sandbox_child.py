"""The child's half of `sandbox`: gives up what it does not need, then one task on its standard input, then out.

Started as `python -m framepack.media.sandbox_child ORDER`. Answers on standard output: one line of JSON, then pixels.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from framepack.files.confine import confine
from framepack.files.errors import MediaError

Answer = tuple[dict[str, Any], Any]
"""What goes into the line, and the array whose bytes follow, or None."""


def main() -> None:
    """Reads the order, does it, answers; an error that is not the user's ends the process without an answer."""
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    confine()
    limit(order["limits"])
    file = os.fdopen(os.dup(0), "rb")
    try:
        if order["task"] == "stream":
            stream(answers, file, **order["arguments"])
            answers.flush()
            os._exit(0)
        answer, pixels = TASKS[order["task"]](file, **order["arguments"])
    except MediaError as error:
        answer, pixels = {"error": str(error).replace("the file", order["name"], 1)}, None
    except MemoryError:
        answer, pixels = {"error": f"{order['name']} needs too much memory to decode: make it smaller"}, None
    answers.write(json.dumps(answer).encode() + b"\n")
    if pixels is not None:
        answers.write(np.ascontiguousarray(pixels).data)
    answers.flush()
    os._exit(0)  # no clean-up of a library that a hostile file has been through


def limit(limits: dict[str, int]) -> None:
    """Memory, processor time, no files written, no core dumps. Windows has none of these, only the time limit."""
    if sys.platform == "win32":
        return
    import resource

    bounds = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["seconds"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        with suppress(ValueError, OSError):  # macOS refuses some of them
            resource.setrlimit(kind, (bound, bound))


def image(file: BinaryIO) -> Answer:
    """Pixels (H, W, 3)."""
    from framepack.media.image import load_image

    pixels = load_image(file)
    return {"shape": pixels.shape}, pixels


def probe(file: BinaryIO) -> Answer:
    """The fields of VideoInfo, fps as text."""
    from framepack.media import read

    info = read.probe(file)
    return asdict(info) | {"fps": str(info.fps)}, None


def metadata(file: BinaryIO) -> Answer:
    """The JSON object in the file, or None."""
    from framepack.media.metadata import read_metadata

    return {"metadata": read_metadata(file)}, None


def video(file: BinaryIO, count: int, tail: bool, fps: float | None, size: tuple[int, int] | None) -> Answer:
    """Pixels (T, H, W, 3)."""
    from framepack.media.image import bucket_crop
    from framepack.media.read import read_video
    from framepack.media.tail import read_tail

    frames = read_tail(file, count, fps=fps) if tail else islice(read_video(file, fps=fps), count)
    cropped = [bucket_crop(frame, *size) if size else frame for frame in frames]
    if not cropped:
        raise MediaError("the file has no frames: use another video")
    pixels = np.stack(cropped)
    return {"shape": pixels.shape}, pixels


def stream(answers: BinaryIO, file: BinaryIO, fps: float | None) -> None:
    """Frame after frame: a line with its shape, its pixels; then a line with the end."""
    from framepack.media.read import read_video

    for frame in read_video(file, fps=fps):
        answers.write(json.dumps({"shape": frame.shape}).encode() + b"\n")
        answers.write(np.ascontiguousarray(frame).data)
        answers.flush()
    answers.write(b'{"end": true}\n')


def still(file: BinaryIO, which: Any, at: float | None, name: str) -> Answer:
    """Pixels (H, W, 3), and the still's metadata."""
    from framepack.media import frames
    from framepack.media.marks import is_made_by_ai
    from framepack.media.metadata import read_metadata

    found = frames.still(file, which=which, at=at)
    about = frames.described(found, name, read_metadata(file), by_ai=is_made_by_ai(file))
    place = {"number": found.number, "second": found.second, "frames": found.frames}
    return {"shape": found.pixels.shape, "metadata": about, "place": place}, found.pixels


def sound(file: BinaryIO) -> Answer:
    """A video's sound, as the bytes of a Matroska file."""
    from framepack.media.source_sound import taken

    data = np.frombuffer(taken(file), np.uint8)
    return {"bytes": len(data)}, data if len(data) else None


def inspect(file: BinaryIO) -> Answer:
    """The fields of Inspection."""
    from framepack.media.inspection import inspect_file

    return asdict(inspect_file(file)), None


def timeline(file: BinaryIO, suffix: str) -> Answer:
    """A VideoSequence as JSON."""
    from framepack.media.editors import SEQUENCE
    from framepack.media.editors_read import read_timeline

    return {"sequence": SEQUENCE.dump_python(read_timeline(file, suffix), mode="json")}, None


TASKS: dict[str, Callable[..., Answer]] = {
    "image": image,
    "probe": probe,
    "metadata": metadata,
    "video": video,
    "still": still,
    "sound": sound,
    "inspect": inspect,
    "timeline": timeline,
}

if __name__ == "__main__":
    main()
