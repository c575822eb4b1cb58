"""The environment as libraries see it: what they read when they are imported, kept from them meanwhile."""

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def without(pattern: str) -> Iterator[None]:
    """No variable whose whole name, in capitals, matches the pattern is there inside; afterwards all are as before."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if re.fullmatch(pattern, name.upper())}
    try:
        yield
    finally:
        for name in list(os.environ):
            if re.fullmatch(pattern, name.upper()):
                del os.environ[name]
        os.environ.update(hidden)


NUMBERS = r"HF_HUB_\w+_TIMEOUT|WEB_CONCURRENCY|TQDM_(M..INTERVAL|MINITERS|NCOLS|NROWS|POSITION|SMOOTHING|DELAY)"
"""Variables that libraries turn into a number when they are imported, and end the program where it is none."""


def leave_out_wrong_numbers(say: Callable[[str], None]) -> None:
    """Unset those of NUMBERS that are none, with a sentence for each."""
    for name, value in list(os.environ.items()):
        if re.fullmatch(NUMBERS, name) and not _is_number(value):
            del os.environ[name]
            say(f"note: {name} of the environment is no number ({value[:40]!r}) and is left out")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
