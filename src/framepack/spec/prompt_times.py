"""Reads times written inside a prompt: `a quiet street [2s: it rains] [4s-6s: the sun comes out]`.

Only `[NUMBERs` is read so; anything else in brackets stays text. Pure.
"""

import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

TIME = r"\d+(?:\.\d+)?|\.\d+"
OPENING = re.compile(rf"\[\s*(?P<begin>{TIME})\s*s(?:\s*-\s*(?P<end>{TIME})\s*s)?(?![a-zA-Z0-9])\s*(?P<colon>:?)")
EXAMPLE = "[2s: it starts to rain]"


class Timed(NamedTuple):
    """A text that holds from a second on, perhaps to another one."""

    begin: float
    end: float | None
    text: str


def is_timed(prompt: str) -> bool:
    """Whether there is a time in a prompt."""
    return OPENING.search(prompt) is not None


def times_apart(data: Mapping[str, Any]) -> dict[str, Any]:
    """A request's settings in which times inside the prompt are timed prompts, so that those are stored in one form."""
    prompt = data.get("prompt")
    if not isinstance(prompt, str) or not is_timed(prompt):
        return dict(data)
    if data.get("prompts"):
        raise ValueError("the prompt has times in it, and there are timed prompts as well: use one of the two")
    first, later = read_times(prompt)
    return {**data, "prompt": first, "prompts": [{"second": second, "text": text} for second, text in later]}


def require_apart(seconds: Iterable[float], blend: float) -> None:
    """ValueError where timed prompts of these seconds are nearer to each other than they blend."""
    least = min((after - before for before, after in pairwise(sorted(set(seconds)))), default=math.inf)
    if blend > least:
        raise ValueError(
            f"blend must be at most the {least:g} s between the prompts that are nearest, got {blend:g}: shorten it or "
            "move them apart"
        )


def read_times(prompt: str) -> tuple[str, list[tuple[float, str]]]:
    """The text that holds at first, and those that take its place, each with its second.

    Text before the first bracket holds until that, and again after an end with nothing right behind it; without such
    text one holds until the next. ValueError for text between brackets, and for times that overlap.
    """
    if not is_timed(prompt):
        return prompt, []
    base, parts = brackets(prompt)
    parts.sort(key=lambda part: part.begin)
    changes: dict[float, str] = {}
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        changes[part.begin] = part.text
        if part.end is None:
            continue
        if part.end <= part.begin or (after is not None and after.begin < part.end):
            limit = f"before {after.begin:g} s" if after is not None and part.end > part.begin else "after it begins"
            raise ValueError(f"{shown(part)} must end {limit}: change one of the two times")
        if base and (after is None or after.begin > part.end):
            changes[part.end] = base
    if len(parts) > len({part.begin for part in parts}):
        raise ValueError("two texts of the prompt begin at the same second: move or remove one")
    if 0.0 not in changes:
        return base, list(changes.items())
    if base and base not in changes.values():
        raise ValueError(f"{base[:60]!r} is never said, as another text begins at 0 s: leave one of the two out")
    return changes.pop(0.0), list(changes.items())


def brackets(prompt: str) -> tuple[str, list[Timed]]:
    """The text before the first one, and all of them. Brackets inside one are its text."""
    found, at, base = [], 0, ""
    while opening := OPENING.search(prompt, at):
        between = prompt[at : opening.start()].strip()
        if found and between:
            raise misplaced(between)
        base = base if found else between
        if not opening["colon"]:
            raise ValueError(f"{opening[0]} in the prompt needs a colon and a text, such as {EXAMPLE}")
        close = closing(prompt, opening.end())
        text = prompt[opening.end() : close].strip()
        found.append(Timed(float(opening["begin"]), float(opening["end"]) if opening["end"] else None, text))
        at = close + 1
    if rest := prompt[at:].strip():
        raise misplaced(rest)
    return base, found


def closing(prompt: str, start: int) -> int:
    """Where the bracket that was opened before `start` is closed."""
    depth = 1
    for at in range(start, len(prompt)):
        depth += (prompt[at] == "[") - (prompt[at] == "]")
        if not depth:
            return at
    raise ValueError(f"a bracket of the prompt is not closed: write it as in {EXAMPLE}")


def misplaced(text: str) -> ValueError:
    """For text that is in no bracket, and not before all of them."""
    return ValueError(
        f"the prompt has times, so all text but the first has to be in brackets, such as {EXAMPLE}, got {text[:60]!r}"
    )


def shown(part: Timed) -> str:
    """How messages name one."""
    return f"the text of [{part.begin:g}s-{part.end:g}s" + "]"
