"""Names of files as people write them."""

import os
from pathlib import Path


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
