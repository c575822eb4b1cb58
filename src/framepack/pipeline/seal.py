"""Files that vouch for themselves: the SHA-256 of all other bytes stands inside, so whatever happens to one is noticed.

For any file that has `"sha256": "<64 digits>"` near its beginning: JSON here, tensors in `sealed_tensors`. No torch.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from framepack.files.atomic import atomic_write

KEY = "sha256"
BLANK = 64 * "0"
"""Stands in the sum's place while it is computed."""
PLACE = re.compile(rb'"sha256\\?": ?\\?"([0-9a-f]{64})')
HEAD = 1 << 20
"""Bytes at a file's beginning in which the sum is looked for."""


class DamagedError(ValueError):
    """A file is not what was written there; the text names it and says why."""


class UnsealedError(DamagedError):
    """There is no sum in it: it comes from an earlier version, or is damaged."""


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Write `value` and its sum, whole or not at all."""
    data = json.dumps({KEY: BLANK, **value}, indent=1).encode()
    with atomic_write(file) as temporary:
        temporary.write_bytes(sealed(data))


def read_json(file: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises DamagedError."""
    data = read_bytes(file)
    require_sealed(file, data)
    value = json.loads(data)
    return {key: value[key] for key in value if key != KEY}


def sealed(data: bytes) -> bytes:
    """`data` with its sum in the place that was kept for it."""
    found = PLACE.search(data[:HEAD])
    assert found, "no place was kept for the sum"
    return data[: found.start(1)] + _sum_around(data, found.start(1)) + data[found.end(1) :]


def require_sealed(file: Path, data: bytes) -> None:
    """Raises DamagedError unless `data`, read from `file`, is what `sealed` made."""
    found = PLACE.search(data[:HEAD])
    if not found:
        raise UnsealedError(f"{file.name} is damaged (it has no checksum)")
    if found[1] != _sum_around(data, found.start(1)):
        raise DamagedError(f"{file.name} is damaged (its checksum is another)")


def sum_of(file: Path) -> str:
    """The SHA-256 of a whole file, of any kind. Raises DamagedError where it cannot be read."""
    with reading(file), file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def read_bytes(file: Path) -> bytes:
    """All of a file. Raises DamagedError where it cannot be read."""
    with reading(file):
        return file.read_bytes()


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turns what the system says of a file that cannot be read into DamagedError."""
    try:
        yield
    except FileNotFoundError:
        raise DamagedError(f"{file.name} is missing") from None
    except OSError as error:
        raise DamagedError(f"{file.name} cannot be read ({error.strerror})") from None


def _sum_around(data: bytes, at: int) -> bytes:
    mark = sha256(memoryview(data)[:at])
    mark.update(BLANK.encode())
    mark.update(memoryview(data)[at + len(BLANK) :])
    return mark.hexdigest().encode()
