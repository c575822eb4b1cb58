"""Names of files as people write them."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

ADDRESS = re.compile(r"(https?|ftp|s3|gs|file)(?=:/)|data(?=:.*[;,])|blob(?=:\w)", re.IGNORECASE)
"""How an address begins; as a path it has lost one of its two slashes."""
SHOWN = 60


def located(text: str) -> str:
    """The path that a text names, as `from_home`; file:///PATH is one too. ValueError for an address of elsewhere."""
    if not (found := ADDRESS.match(text)):
        return from_home(text)
    kind, rest = found[0].lower(), text[found.end() + 1 :]
    if kind == "file":
        host, path = urlsplit(f"file:{rest}")[1:3]
        if path and host in ("", "localhost"):
            return url2pathname(path)
    if kind == "data":
        shown = f"{text[:SHOWN]}…"
        raise ValueError(
            f"{shown!r} is a picture written as an address: save it as a file first, then name that (HTTP: upload it)"
        )
    whole = f"{found[0]}:{rest}" if kind == "blob" else f"{found[0]}://{rest.lstrip('/')}"
    shown = whole if len(whole) <= SHOWN else f"{whole[:SHOWN]}…"
    raise ValueError(
        f"{shown!r} is an address, and nothing is fetched: download it first, then name its file (HTTP: upload it)"
    )


def from_home(text: str) -> str:
    """The path that a text names; a leading ~ alone or before a separator is the home folder, as shells have it.

    Any other ~ is part of a name. ValueError where there is no home folder.
    """
    first, *rest = text.replace(os.altsep or os.sep, os.sep).split(os.sep, 1)
    if first != "~":
        return text
    try:
        return str(Path.home().joinpath(*rest))
    except RuntimeError:
        raise ValueError("~ means the home folder, and there is none here: write the whole path") from None
