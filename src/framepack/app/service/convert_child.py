"""The child's half of `convert`: gives up what it does not need, then puts every frame of its input into the new file.

Started as `python -m framepack.app.service.convert_child ORDER`; says how far it is, then answers, each in a line of
JSON on standard output.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from framepack.files.confine import confine
from framepack.files.errors import DiskFullError, FileTooLargeError
from framepack.media.finishing import finish_open_file
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding

EVERY = 0.5
"""Seconds between two words on how far it is."""
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
        source, again = os.fdopen(os.dup(0), "rb"), os.fdopen(order["again"], "rb")
        output, steps = FileCoding.model_validate(order["output"]), FileFinish.model_validate(order["steps"])
        frames, told = 0, -EVERY  # the first frame is told at once
        for now in finish_open_file(source, again, target, output, steps):
            if isinstance(now, str):
                say(answers, {"notice": now})
                continue
            frames = now.frames
            if time.monotonic() - told >= EVERY:
                told = time.monotonic()
                say(answers, {"frames": frames, "total": now.total})
        answer: Mapping[str, Any] = {"frames": frames}
    except DiskFullError:
        answer = {"full": "the disk is full, so nothing can be converted; free some space"}
    except FileTooLargeError:
        answer = {"error": f"it would have more than {order['limits']['file_bytes'] / 2**30:.3g} GB"}
    except ValueError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs too much memory"}
    say(answers, answer)


def say(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    """One line of JSON; the last one is the answer."""
    answers.write(json.dumps(answer).encode() + b"\n")
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


if __name__ == "__main__":
    main()
