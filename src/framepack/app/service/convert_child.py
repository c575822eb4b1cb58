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
from framepack.media.credentials import holds_credentials
from framepack.media.finishing import Progress, finish_open_file
from framepack.pipeline.finishing import enlarger, network_used
from framepack.spec.finish import FileFinish
from framepack.spec.output import FileCoding

EVERY = 0.5
"""Seconds between two words on how far it is."""
LOOK, FAR = 60.0, 2.0
"""Seconds after which work that would take so many times as long as it may is given up."""
THREAD = 1 << 28
"""Address space that a thread takes, with what it allocates from."""
POLITE = 10
"""By how much its priority is lower than the service's; workers stand between them."""


def main() -> None:
    """Reads the order, does it, answers."""
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    target = Path(order["target"]).absolute()
    output, steps = FileCoding.model_validate(order["output"]), FileFinish.model_validate(order["steps"])
    limits = with_torch(order["limits"]) if network_used(steps) else order["limits"]
    confine([target.parent], [Path(folder) for folder in order["read"]])
    limit(limits)
    try:
        source, again = os.fdopen(os.dup(0), "rb"), os.fdopen(order["again"], "rb")
        enlarge = enlarger(steps, "cpu")
        frames, began = 0, time.monotonic()
        told = began - EVERY  # the first frame is told at once
        for now in finish_open_file(source, again, target, output, steps, enlarge):
            if isinstance(now, str):
                say(answers, {"notice": now})
                continue
            frames, passed = now.frames, time.monotonic()
            if enlarge is not None:
                require_time(now, passed - began, order["limits"]["seconds"])
            if passed - told >= EVERY:
                told = passed
                say(answers, {"frames": frames, "total": now.total})
        answer: Mapping[str, Any] = {"frames": frames, "signed": holds_credentials(source)}
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


def with_torch(limits: Mapping[str, int]) -> Mapping[str, int]:
    """Load what a network needs, before anything of a stranger's is read; the limits beside what that takes.

    It computes on half of the processor's cores: the GPU belongs to the videos that are being made.
    """
    import psutil
    import torch

    import framepack.pipeline.enlarge  # noqa: F401 - all that is imported later would be imported by a confined process

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(cores // 2, 1)
    torch.set_num_threads(threads)
    taken = psutil.Process().memory_info().vms + threads * THREAD
    return {
        **limits,
        "memory_bytes": limits["memory_bytes"] + taken,
        "seconds": limits["seconds"] * threads,
    }


def require_time(now: Progress, passed: float, seconds: int) -> None:
    """ValueError where it becomes plain that the whole video would take far more time than it may."""
    whole = passed / now.frames * now.total
    if passed > LOOK and whole > FAR * seconds:
        raise ValueError(
            f"the network takes {passed / now.frames:.0f} s for a frame, {whole / 3600:.1f} h in all, and the limit is "
            f"{seconds / 3600:.3g} h: use `framepack finish`, or `finish` in a request, on a GPU"
        )


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
