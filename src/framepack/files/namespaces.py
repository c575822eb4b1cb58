"""Namespaces of Linux: a process without a network, whose root has nothing but the folders it is given.

Any user may make them where the system allows user namespaces; many containers do not. Source: user_namespaces(7).
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from framepack.files.landlock import done

NEW_USER, NEW_FILES, NEW_NETWORK, NEW_IPC = 0x10000000, 0x00020000, 0x40000000, 0x08000000
BIND, RECURSIVE, PRIVATE, DETACH = 1 << 12, 1 << 14, 1 << 18, 2
NO_SUID, NO_DEVICES = 1 << 1, 1 << 2
ROOT = b"/sys"
SMALL = b"size=256k,nr_inodes=2k,mode=755"
CAPABILITIES = 0x20080522
"""Version 3 of `struct __user_cap_header_struct`."""


def leave(keep: Sequence[Path]) -> set[str]:
    """Leave the network, and all files but those in the folders `keep`; which of the two the system let go of.

    Open files stay so. Needs a process of one thread; takes about two milliseconds.
    """
    if sys.platform != "linux":
        return set()
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_FILES | NEW_NETWORK | NEW_IPC) < 0:
        return set()
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        new_root(libc, keep)
    except OSError:  # Ubuntu lets users make namespaces, but not do anything in them
        return {"network"}
    finally:
        drop_rights(libc)
    return {"network", "files"}


def new_root(libc: ctypes.CDLL, keep: Sequence[Path]) -> None:
    """A small file system in memory, with the folders at their places, becomes the root.

    It lies over /sys while it is made. The folders were opened before, in case they lie there too.
    """
    opened = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in keep if folder.is_dir()}
    mount(libc, b"none", b"/", None, RECURSIVE | PRIVATE)
    mount(libc, b"none", ROOT, b"tmpfs", NO_SUID | NO_DEVICES, SMALL)
    try:
        for folder, number in opened.items():
            place = ROOT + bytes(folder)
            os.makedirs(place, exist_ok=True)  # noqa: PTH103 - names need not be text
            mount(libc, f"/proc/self/fd/{number}".encode(), place, None, BIND | RECURSIVE)
            if not os.path.samestat(os.stat(place), os.fstat(number)):  # noqa: PTH116 - as above
                raise OSError(f"{folder} did not come along")
        os.chroot(ROOT)
    except OSError:
        libc.umount2(ROOT, DETACH)
        raise
    finally:
        for number in opened.values():
            os.close(number)
    os.chdir("/")


def mount(libc: ctypes.CDLL, source: bytes, place: bytes, kind: bytes | None, flags: int, more: bytes = b"") -> None:
    """See mount(2)."""
    done(libc.mount(source, place, kind, ctypes.c_ulong(flags), more))


def drop_rights(libc: ctypes.CDLL) -> None:
    """Give up the rights one has in namespaces of one's own: they reach parts of the kernel that few ever use."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    done(libc.capset(header, none))
