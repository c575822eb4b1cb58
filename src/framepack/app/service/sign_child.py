"""The child's half of `convert` that signs: it reads a stranger's file with the key at hand, so it does nothing else.

Started as `python -m framepack.app.service.sign_child ORDER`; answers in a line of JSON on standard output.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framepack.app.service.convert_child import limit, say
from framepack.files.confine import confine
from framepack.media.credentials import carry_over


def main() -> None:
    """Reads the order, does it, answers: `signed`, with a notice where it could not be."""
    order = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become part of the answer
    source, target, key = (Path(order[name]).absolute() for name in ("source", "target", "key"))
    confine([target.parent], [source.parent, key])
    limit(order["limits"])
    try:
        notice = carry_over(source, target, folder=key)
        answer: Mapping[str, Any] = {"signed": notice is None, **({"notice": notice} if notice else {})}
    except OSError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs too much memory"}
    say(answers, answer)


if __name__ == "__main__":
    main()
