"""Children begin with an environment of their own, and a start that failed in passing is tried again."""

import ctypes
import errno
import os
import subprocess
import sys
import threading

import pytest

from framepack.files import child
from framepack.files.child import NOTHING, PIPE, answer_of, bare_environment, environment, start

WORDS = [sys.executable, "-c", "import os; print(os.environ['WORD'])"]


@pytest.fixture
def restless():
    """A native library in another thread sets and unsets variables, as large imports do, without Python's lock."""
    libc, done = ctypes.CDLL(None), threading.Event()

    def change() -> None:
        while not done.is_set():
            for number in range(1000):
                libc.setenv(b"RESTLESS_%d" % number, b"x" * (number * 5), 1)
            for number in range(1000):
                libc.unsetenv(b"RESTLESS_%d" % number)

    thread = threading.Thread(target=change)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setenv")
def test_children_start_while_another_thread_changes_the_environment(restless):
    for _ in range(100):
        with start(["true"]) as one:
            assert one.wait() == 0
    assert any(fails_without(["true"]) for _ in range(5000)), "what is guarded against did not happen"


def fails_without(command: list[str]) -> bool:
    """Whether a start without an environment of its own fails."""
    try:
        return bool(subprocess.Popen(command).wait())
    except OSError:
        return True


def test_every_child_is_given_its_environment(monkeypatch):
    given, popen = [], subprocess.Popen
    monkeypatch.setenv("WORD", "here")
    monkeypatch.setattr(child.subprocess, "Popen", lambda *a, **rest: given.append(rest["env"]) or popen(*a, **rest))
    with start(WORDS, stdout=PIPE) as one:
        assert one.communicate()[0] == b"here\n"
    assert given[0] == dict(os.environ)
    assert given[0] is not os.environ


def test_a_start_that_fails_in_passing_is_tried_again_and_one_that_cannot_be_is_not(monkeypatch):
    monkeypatch.setattr(child, "PAUSES", (0.0, 0.0))
    popen, tries = subprocess.Popen, []

    def refuse(number: int, times: int):
        def start_or_not(*arguments, **rest):
            tries.append(number)
            if len(tries) <= times:
                raise OSError(number, os.strerror(number))
            return popen(*arguments, **rest)

        tries.clear()
        monkeypatch.setattr(child.subprocess, "Popen", start_or_not)

    refuse(errno.EFAULT, times=2)
    with start(["true"]) as one:
        assert one.wait() == 0
    refuse(errno.EAGAIN, times=9)
    with pytest.raises(BlockingIOError):
        start(["true"])
    assert len(tries) == 3
    refuse(errno.ENOENT, times=9)
    with pytest.raises(FileNotFoundError):
        start(["true"])
    assert len(tries) == 1


def test_a_copy_of_the_environment_never_fails_and_a_bare_one_has_no_secrets(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for number in range(300):
                os.environ[f"RESTLESS_{number}"] = "x"
            for number in range(300):
                del os.environ[f"RESTLESS_{number}"]

    thread = threading.Thread(target=change)
    thread.start()
    for _ in range(200):
        assert environment()["SECRET_TOKEN"] == "x"
    done.set()
    thread.join()
    assert "SECRET_TOKEN" not in bare_environment()
    program = "import framepack, os; assert 'SECRET_TOKEN' not in os.environ"
    with start([sys.executable, "-c", program], env=bare_environment()) as one:
        assert one.wait() == 0


def test_what_a_small_program_says_is_empty_where_it_fails_is_late_or_not_there():
    assert answer_of([sys.executable, "-c", "print(' 7 ')"]) == "7"
    assert answer_of([sys.executable, "-c", "print(7); raise SystemExit(1)"]) == ""
    assert answer_of(["sleep", "60"], seconds=0.1) == ""
    assert answer_of(["no such program"]) == ""


def test_nothing_is_inherited_but_what_is_kept():
    read, write = os.pipe()
    look = f"import os; os.write({write}, b'kept')"
    with start([sys.executable, "-c", look], stderr=NOTHING) as one:
        assert one.wait() == 1
    with start([sys.executable, "-c", look], keep=(write,)) as one:
        assert one.wait() == 0
    assert os.read(read, 9) == b"kept"
    os.close(read)
    os.close(write)
