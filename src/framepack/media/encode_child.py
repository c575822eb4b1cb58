"""The child's half of `isolated`: encodes the raw frames on its standard input into one file, and answers with JSON.

Started as `python -m framepack.media.encode_child ORDER`. It has this one video in its whole life.
"""

import json
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from av.error import FFmpegError

from framepack.media.codecs import WRITERS
from framepack.media.sinks import SinkSpec
from framepack.media.sound import Sound
from framepack.spec.formats import Coding, codec_of


def main() -> None:
    """Reads the order, does it, answers."""
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    answer: dict[str, Any]
    try:
        answer = {"frames": encode(order, sys.stdin.buffer)}
    except OSError as error:
        answer = {"errno": error.errno, "error": error.strerror or str(error)}
    except (ValueError, MemoryError, FFmpegError) as error:
        answer = {"error": str(error) or "it needs too much memory"}
    answers.write(json.dumps(answer).encode())
    answers.flush()


def encode(order: dict[str, Any], source: BinaryIO) -> int:
    """Encode what `source` holds, as `isolated` ordered; return the number of frames."""
    path, length = Path(order.pop("path")), order.pop("metadata_bytes")
    metadata = source.read(length).decode() if length else None
    order |= {"fps": Fraction(order["fps"]), "coding": Coding(**order["coding"]), "metadata": metadata, "alone": True}
    if sound := order["sound"]:
        order["sound"] = Sound(**{**sound, "file": Path(sound["file"])})
    spec = SinkSpec(**order)
    sink = WRITERS[spec.form, codec_of(spec.form, spec.coding.codec)](path, spec)
    shape, frames = (spec.height, spec.width, 3), 0
    while data := source.read(spec.height * spec.width * 3):
        sink.write(np.frombuffer(data, np.uint8).reshape(shape))
        frames += 1
    sink.close()
    return frames


if __name__ == "__main__":
    main()
