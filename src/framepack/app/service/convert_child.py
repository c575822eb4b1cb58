"""The child's half of `convert`: gives up what it does not need, then puts every frame of its input into the new file.

Started as `python -m framepack.app.service.convert_child ORDER`; answers with one JSON object on standard output.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from framepack.files.confine import confine
from framepack.files.errors import DiskFullError, FileTooLargeError, MediaError
from framepack.media.marks import MARKED, is_made_by_ai
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.timing import resample_fps
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS, Coding

POLITE = 10
"""By how much its priority is lower than the service's; workers stand between them."""


def main() -> None:
    """Reads the order, does it, answers."""
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    target = Path(order["target"]).absolute()
    confine([target.parent])
    limit(order["limits"])
    try:
        frames = convert(os.fdopen(os.dup(0), "rb"), target, order["format"], Coding(**order["coding"]))
        answer: Mapping[str, Any] = {"frames": frames}
    except DiskFullError:
        answer = {"full": "the disk is full, so nothing can be converted; free some space"}
    except FileTooLargeError:
        answer = {"error": f"it would have more than {order['limits']['file_bytes'] / 2**30:.3g} GB"}
    except ValueError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs too much memory"}
    answers.write(json.dumps(answer).encode())
    answers.flush()


def limit(limits: Mapping[str, int]) -> None:
    """Memory, processor time, size of the file, no core dumps. Windows has none of these, only the time limit."""
    if hasattr(os, "nice"):
        os.nice(POLITE)
    if sys.platform == "win32":
        return
    import resource

    bounds = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_CPU: limits["seconds"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        with suppress(ValueError, OSError):  # macOS refuses some of them
            resource.setrlimit(kind, (bound, bound))


def convert(source: BinaryIO, target: Path, name: str, quality: int | Coding) -> int:
    """Write the frames of `source`, with the settings and the mark it carries, to `target`; return their number."""
    info, settings = probe(source), read_metadata(source)
    if not info.frames:
        raise MediaError("it has no frames")
    fps = min(info.fps, FORMATS[name].most_fps)
    writer = VideoWriter(
        target,
        size=(info.width, info.height),
        fps=fps,
        format=name,
        quality=quality,
        metadata=json.dumps(settings) if settings else MARKED if is_made_by_ai(source) else None,
        alone=True,
    )
    with writer:
        for frame in resample_fps(read_video(source, whole=True, wide=writer.wide), info.fps, fps):
            writer.write(frame)
    return writer.frames_encoded


if __name__ == "__main__":
    main()
