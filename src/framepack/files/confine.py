"""What a child that reads strangers' files gives up before it reads any: network, files, programs.

Twice, as neither is everywhere and neither does all: `namespaces` take away every network and every other file, with
the sockets that lie among them; `landlock` refuses to write, to run programs, and TCP. macOS and Windows have neither.
Run as a program it says, as JSON, what could not be given up.
"""

import json
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from framepack.files import landlock, namespaces
from framepack.files.child import answer_of

PACKAGE = Path(__file__).resolve().parents[1]
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store")
"""Where libraries of the system are."""
DECODERS = ("numpy", "PIL", "av")
"""Packages the children load; an installer may have put links to them where Python looks."""


def confine(write: Sequence[Path] = (), read: Sequence[Path] = ()) -> list[str]:
    """Give up all but reading Python, its libraries and the folders `read`, and changing the folders `write`.

    Returns what could not be given up, in words.

    Open files stay so. Needs a process of one thread, before it reads anything. Cannot be undone.
    """
    kept = [*readable(), *(folder.absolute() for folder in read)]
    gone = namespaces.leave([*kept, *(folder.absolute() for folder in write)])
    known = landlock.give_up(kept, write)
    left = {
        "the network": "network" not in gone,
        "reading files": not known and "files" not in gone,
        "changing files": not known,
        "sockets of programs": "files" not in gone,
        "running programs": not known,
    }
    return [what for what, still in left.items() if still]


def readable() -> list[Path]:
    """Python, its packages and the system's libraries, each folder once, by the name it is asked for and its own."""
    ours = [Path(path) for path in sys.path if Path(path) != PACKAGE.parent]
    pythons = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    loader = [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if path]
    specs = [spec.origin for name in DECODERS if (spec := find_spec(name)) and spec.origin]
    linked = [Path(origin).resolve().parents[1] for origin in specs]
    base = Path(sys.base_prefix, "lib")
    named = [PACKAGE, *pythons, *ours, *linked, base, *loader, *map(Path, LIBRARIES)]
    both = dict.fromkeys(found for path in named for found in (path.absolute(), path.resolve()) if path.is_dir())
    return [path for path in both if not any(other in path.parents for other in both)]


def left_open() -> list[str]:
    """What `confine` could not give up on this machine; found out in a child."""
    return json.loads(answer_of([sys.executable, "-P", "-m", "framepack.files.confine"]) or '["anything"]')


if __name__ == "__main__":
    sys.stdout.write(json.dumps(confine()))
