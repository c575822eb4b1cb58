"""Landlock: a process of Linux gives up files, programs and TCP for good. Three plain system calls, no rights needed.

Source: docs.kernel.org/userspace-api/landlock.html. Newer kernels can refuse more; what this one cannot is left out.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446
"""Numbers of the system calls, the same on all of today's architectures."""
ASK_VERSION, BENEATH = 1, 1
NO_NEW_PRIVS = 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FIRST = (1 << 13) - 1
"""All rights to files that the first version knows."""
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for a single file may have; the others are of folders."""
READING = READ_FILE | READ_DIR
WRITING = READING | WRITE_FILE | TRUNCATE | 1 << 5 | 1 << 8
"""With removing and making regular files, no other kinds."""
TCP = 0b11
"""Bind and connect."""
SCOPES = 0b11
"""Abstract UNIX sockets of others, signals to others."""


class Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class Rule(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """What this kernel knows of Landlock: 0 nothing, 4 also TCP, 6 also signals and abstract sockets."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None, use_errno=True).syscall(CREATE, None, ctypes.c_size_t(0), ASK_VERSION))


def handled(known: int) -> Ruleset:
    """Everything that a version can refuse."""
    newer = (known >= 2) * REFER | (known >= 3) * TRUNCATE | (known >= 5) * IOCTL_DEV
    return Ruleset(FIRST | newer, TCP if known >= 4 else 0, SCOPES if known >= 6 else 0)


def give_up(read: Iterable[Path], write: Iterable[Path]) -> int:
    """From now on this thread and what it starts read `read`, change what is in `write`, run no program, use no TCP.

    Files that are open stay so. The version that did it, 0 where none could. OSError where the kernel refuses.
    """
    known = version()
    if not known:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    rules = handled(known)
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = done(libc.syscall(CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0))
    try:
        for rights, paths in ((READING, read), (WRITING, write)):
            for path in paths:
                allow(libc, ruleset, path, rights & rules.files)
        done(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0))
        done(libc.syscall(RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return known


def allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """A rule for a folder and all in it, or a file; none where it is not there."""
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = Rule(rights if path.is_dir() else rights & OF_FILES, folder)
        done(libc.syscall(ADD, ruleset, BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(folder)


def done(answer: int) -> int:
    """What a system call said; OSError where it failed."""
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
