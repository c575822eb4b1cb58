"""The child's half of `convert`: gives up what it does not need, then puts every frame of its input into the new file.

Started as `python -m framepack.app.service.convert_child ORDER`; answers with one JSON object on standard output.
"""

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from framepack.files.confine import confine
from framepack.files.errors import DiskFullError, FileTooLargeError
from framepack.media.convert import convert
from framepack.media.finishing import finish_open_file
from framepack.spec.formats import Coding

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
        source, name, coding = os.fdopen(os.dup(0), "rb"), order["format"], Coding(**order["coding"])
        if order["steps"]:
            again = os.fdopen(order["again"], "rb")
            frames = finish_open_file(source, again, target, name, coding, order["steps"])
        else:
            frames = convert(source, target, name, coding)
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


if __name__ == "__main__":
    main()
