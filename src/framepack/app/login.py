"""The name and password of a service, from where other programs of the machine cannot read them.

Arguments of a command stand in the list of processes, which everyone may read; so none has a password in it.
"""

import getpass
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from framepack.files.text import text_of_file

VARIABLE = "FRAMEPACK_PASSWORD"
USER = "framepack"
LOGIN_MOST = 10_000
"""Bytes of a file with a login."""
WAYS = f"--password-file FILE (- asks for it), or the variable {VARIABLE}"


def login_of(
    auth: str | None, user: str, password_file: str | None, environment: MutableMapping[str, str] = os.environ
) -> str | None:
    """USER:PASSWORD, or None where none was given. Takes the password out of the environment, as children copy it."""
    from_environment = environment.pop(VARIABLE, None)
    if auth and password_file:
        raise ValueError("--auth and --password-file both give a password: leave one out")
    if auth:
        return login_in(auth)
    password = password_from(password_file) if password_file else from_environment
    if password is None:
        return None
    if not password or "\n" in password:
        raise ValueError("the password has to be one line that is not empty")
    if not user or ":" in user:
        raise ValueError(f"--user is a name without a colon, got {user[:60]!r}")
    return f"{user}:{password}"


def login_in(auth: str) -> str:
    """A file's USER:PASSWORD; ValueError for one that stands in the argument itself."""
    if not auth.startswith("@"):
        raise ValueError(f"a password among the arguments can be read by every program here: use {WAYS}")
    login = text_of_file(Path(auth[1:]), LOGIN_MOST).strip()
    user, _, password = login.partition(":")
    if not user or not password:
        raise ValueError("--auth is @FILE, a file with USER:PASSWORD in it")
    return login


def password_from(file: str) -> str:
    """The password in a file, or what a person types, or what another program pipes in."""
    if file != "-":
        return text_of_file(Path(file), LOGIN_MOST).strip("\r\n")
    return getpass.getpass("password of the service: ") if sys.stdin.isatty() else sys.stdin.readline().strip("\r\n")


def notes_on(auth: str | None, password_file: str | None) -> list[str]:
    """What is worth saying of how the password was given: a file that other users of the machine can read."""
    named = auth[1:] if auth else password_file if password_file != "-" else None
    if os.name != "posix" or not named or not Path(named).stat().st_mode & 0o077:
        return []
    return [f"note: other users of this machine can read {named}; chmod 600 keeps them out"]
