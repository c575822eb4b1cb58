"""What a child of the service says: lines of JSON, of which nothing is trusted; and its notices, kept beside a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write
from framepack.files.text import printable_line

LINE = 100_000
"""Bytes of a line of a child that are read at most."""
MOST = 20
"""Notices of one child that are heard."""
KINDS = {"frames": int, "total": int, "notice": str, "error": str, "full": str, "signed": bool}
"""What a line may say, and what it is."""


def said_in(line: bytes) -> dict[str, Any]:
    """What a line says; without what is of another kind, as a decoder that was taken over might write it."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    known = said if isinstance(said, dict) else {}
    right = {name: value for name, value in known.items() if name in KINDS and isinstance(value, KINDS[name])}
    return right | ({"notice": printable_line(right["notice"])} if "notice" in right else {})


def keep(file: Path, notices: Sequence[str]) -> None:
    """Keep what was said when `file` was made, in place of what was kept before."""
    if not notices:
        place_of(file).unlink(missing_ok=True)
        return
    with atomic_write(place_of(file)) as temporary:
        temporary.write_text(json.dumps(list(notices)), "utf-8")


def kept(file: Path) -> list[str]:
    """What was said when `file` was made."""
    try:
        return json.loads(place_of(file).read_text("utf-8"))
    except FileNotFoundError:
        return []


def place_of(file: Path) -> Path:
    """Where they are, hidden, in the same folder."""
    return file.with_name(f".{file.name}.notices")
