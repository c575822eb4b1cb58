"""What a child has given up, tried from inside as hostile code would. Skips what this kernel cannot refuse."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from framepack.files import landlock, namespaces
from framepack.files.child import bare_environment
from framepack.files.confine import PACKAGE, left_open

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock are Linux's")

HOSTILE = """
import json, os, socket, sqlite3, sys
from framepack.files.confine import confine
place = json.loads(sys.argv[1])
left = confine()

def talk(family, kind, address):
    with socket.socket(family, kind) as one:
        one.settimeout(5)
        one.connect(address)
        one.send(b"x")

def listen():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with socket.create_connection(one.getsockname(), 5):
            pass

def start(program):
    if (child := os.fork()) == 0:
        try:
            os.execv(program, [program, "-c", ""])
        finally:
            os._exit(77)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77:
        raise OSError("exec failed")

TRIES = {
    "tcp": lambda: talk(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", place["tcp"])),
    "udp": lambda: talk(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
    "listening": listen,
    "socket of a program": lambda: talk(socket.AF_UNIX, socket.SOCK_STREAM, place["unix"]),
    "abstract socket": lambda: talk(socket.AF_UNIX, socket.SOCK_STREAM, chr(0) + place["abstract"]),
    "passwords": lambda: open("/etc/shadow").read(1),
    "accounts": lambda: open("/etc/passwd").read(1),
    "the user's file": lambda: open(place["secret"]).read(1),
    "the user's folder": lambda: os.listdir(os.path.dirname(place["secret"])),
    "the queue": lambda: sqlite3.connect(place["queue"]).execute("select * from jobs").fetchall(),
    "another process": lambda: open(f"/proc/{os.getppid()}/environ").read(1),
    "a signal": lambda: os.kill(os.getppid(), 0),
    "python": lambda: start(sys.executable),
    "a program": lambda: start("/bin/true"),
    "writing": lambda: open(place["secret"], "a"),
    "a new file": lambda: open(os.path.join(os.path.dirname(place["secret"]), "new"), "w"),
    "a temporary file": lambda: open("/tmp/framepack-hostile", "w"),
    "the root": lambda: open("/framepack-hostile", "w"),
    "python's own files": lambda: open(os.path.join(os.path.dirname(os.__file__), "hostile.py"), "w"),
    "this package": lambda: open(sys.modules["framepack"].__file__, "a"),
    "removing": lambda: os.unlink(place["secret"]),
}
done = []
for name, attempt in TRIES.items():
    try:
        attempt()
        done.append(name)
    except (OSError, sqlite3.Error):
        pass
import av, numpy, PIL.Image  # what is needed is still there
PIL.Image.init()
print(json.dumps({"left": left, "done": done, "tried": len(TRIES)}))
"""


def said_by(code: str, *arguments: str) -> str:
    command = [sys.executable, "-P", "-s", "-c", code, *arguments]
    return subprocess.run(command, env=bare_environment(), check=True, capture_output=True, text=True).stdout


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict]:
    """What there is to steal."""
    secret, queue, path = tmp_path / "secret", tmp_path / "queue.sqlite", tmp_path / "socket"
    secret.write_text("secret")
    with sqlite3.connect(queue) as database:
        database.execute("create table jobs (id)")
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        unix.bind(str(path))
        abstract.bind(f"\0framepack-{os.getpid()}")
        for one in (unix, abstract):
            one.listen()
        yield {
            "secret": str(secret),
            "queue": str(queue),
            "tcp": tcp.getsockname()[1],
            "unix": str(path),
            "abstract": f"framepack-{os.getpid()}",
        }


def test_hostile_code_reaches_nothing_outside(place: dict) -> None:
    said = json.loads(said_by(HOSTILE, json.dumps(place)))
    if said["left"]:
        pytest.skip(f"this system lets go of less: {', '.join(said['left'])}")
    assert said["tried"] == 21
    # without a network there is still one of its own, that nobody else is in
    assert [name for name in said["done"] if name != "listening" or landlock.version() >= 4] == []
    assert Path(place["secret"]).read_text() == "secret"


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock, or it is switched off")
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6])
def test_every_version_of_landlock_is_spoken_to_in_its_words(place: dict, version: int) -> None:
    """Without namespaces, as in most containers."""
    if version > landlock.version():
        pytest.skip("this kernel's is older")
    patch = f"from framepack.files import landlock, namespaces\nlandlock.version = lambda: {version}\n"
    patch += "namespaces.leave = lambda keep: set()\n"
    said = json.loads(said_by(patch + HOSTILE, json.dumps(place)))
    assert said["left"] == ["the network", "sockets of programs"]
    sockets = {"tcp", "udp", "listening", "socket of a program", "abstract socket", "a signal"}
    assert set(said["done"]) <= (sockets if version < 4 else sockets - {"tcp", "listening"})
    assert Path(place["secret"]).read_text() == "secret"


WRITES = """
import os, sys
from pathlib import Path
from framepack.files.confine import confine
folder = Path(sys.argv[1])
confine([folder])
(folder / ".part").write_text("new")
(folder / ".part").rename(folder / "video.mp4")
(folder / "old").unlink()
try:
    (folder.parent / "outside").write_text("x")
except OSError:
    print("refused", end="")
"""


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock, or it is switched off")
def test_its_own_folder_can_be_written_and_not_the_one_above(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "old").touch()
    assert said_by(WRITES, str(own)) == "refused"
    assert (own / "video.mp4").read_text() == "new"
    assert [file.name for file in own.iterdir()] == ["video.mp4"]
    assert not (tmp_path / "outside").exists()


NEITHER = """
from framepack.files import landlock
from framepack.files import namespaces
from framepack.files.confine import confine
landlock.version = lambda: 0
namespaces.leave = lambda keep: set()
print(*confine(), sep=", ")
import framepack.media.image
"""


def test_where_the_system_has_neither_the_child_goes_on_and_says_what_is_open(monkeypatch) -> None:
    assert said_by(NEITHER) == "the network, reading files, changing files, sockets of programs, running programs\n"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert landlock.version() == landlock.give_up([], []) == 0
    assert namespaces.leave([]) == set()


def test_what_is_read_has_no_folder_that_someone_may_keep_other_things_in() -> None:
    said = said_by("from framepack.files.confine import readable; print(*readable(), sep=chr(10))")
    assert PACKAGE in {Path(line) for line in said.splitlines()}
    assert not {Path.cwd(), Path.home(), Path("/"), Path("/tmp"), PACKAGE.parent} & {*map(Path, said.splitlines())}


def test_packages_that_lie_elsewhere_and_are_linked_to_are_read_there(tmp_path: Path) -> None:
    module = tmp_path / "store" / "av" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.touch()
    (tmp_path / "site" / "av").mkdir(parents=True)
    (tmp_path / "site" / "av" / "__init__.py").symlink_to(module)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom framepack.files.confine import readable; print(*readable())"
    )
    assert str(tmp_path / "store") in said_by(code, str(tmp_path / "site")).split()


def test_the_machine_says_what_is_left_open() -> None:
    words = {"the network", "reading files", "changing files", "sockets of programs", "running programs"}
    assert set(left_open()) <= words
