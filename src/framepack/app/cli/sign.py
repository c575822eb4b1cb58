"""`framepack sign`: content credentials in a video or picture that is there."""

import json
from pathlib import Path
from typing import Annotated

import typer


def sign(
    file: Annotated[Path, typer.Argument(help="An mp4, gif, webp or png that AI made.", show_default=False)],
    source: Annotated[Path | None, typer.Option(help="The video it was made from, if it is an edit.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the credentials in FILE as JSON; sign nothing.")] = False,
) -> None:
    """Sign FILE with content credentials (C2PA), which say that AI made it; the key is made at the first time."""
    from framepack.media.credentials import read_credentials, sign_file

    if show and source is not None:
        raise ValueError("--show signs nothing: leave --source out")
    print(json.dumps(read_credentials(file), indent=2) if show else sign_file(file, source))
