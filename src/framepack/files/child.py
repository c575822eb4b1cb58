"""How every child process begins: with a copy of the environment, and once more where the system had no memory for it.

Without `env` the child's exec reads C's own environment, which a setenv in another thread (an import of Gradio, for
one) may move away in that very moment: "[Errno 14] Bad address", about once in three starts of a service. A linter
contract lets no other module of the package start a process.
"""

import errno
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

Child = subprocess.Popen[bytes]
Late = subprocess.TimeoutExpired
PIPE, NOTHING = subprocess.PIPE, subprocess.DEVNULL
PASSING = {getattr(errno, name) for name in ("EFAULT", "EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ETXTBSY", "EINTR")}
"""What a start may fail with and yet be possible a moment later."""
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before a start is tried again."""
FOR_PYTHON = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "TMPDIR")
FIXED = {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def environment() -> dict[str, str]:
    """A copy of the environment that nothing else changes, whichever thread sets or unsets variables meanwhile."""
    return {name: value for name in list(os.environ) if (value := os.environ.get(name)) is not None}


def bare_environment() -> dict[str, str]:
    """Enough to start Python and to find this package; no secrets of this process's environment."""
    kept = {name: value for name, value in environment().items() if name in FOR_PYTHON}
    return kept | FIXED | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def start(
    command: Sequence[str],
    *,
    stdin: int | IO[Any] = NOTHING,
    stdout: int | IO[Any] = NOTHING,
    stderr: int | IO[Any] | None = None,
    env: Mapping[str, str] | None = None,
    keep: tuple[int, ...] = (),
) -> Child:
    """Start a child; `env` is a copy of this process's where none is given. keep: descriptors it inherits.

    OSError where it cannot be started, also at the sixth try where the system might yet allow it.
    """
    own = environment() if env is None else dict(env)
    for pause in (*PAUSES, None):
        try:
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=own, pass_fds=keep)
        except OSError as error:
            if pause is None or error.errno not in PASSING:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def answer_of(command: Sequence[str], seconds: float = 5.0) -> str:
    """What a small program of the system says; empty where it is not there, fails, or takes too long."""
    try:
        with start(command, stdout=PIPE, stderr=NOTHING) as child:
            try:
                said = child.communicate(timeout=seconds)[0]
            except Late:
                child.kill()
                return ""
    except OSError:
        return ""
    return said.decode(errors="replace").strip() if child.returncode == 0 else ""
