"""Reads weights from their files into device memory, by several threads, and keeps none of them on the host.

It reads past the memory map, whose pages would count as the process's own, and casts what is to be used in another
dtype than the file's. Boundary: byte ranges; what they mean is not its business.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from framepack.memory.lanes import Lane, Mark
from framepack.memory.mapped import FileSlice

CHUNK = 8 << 20
THREADS = 4
"""Together they keep 32 MB in flight, enough to saturate an NVMe disk."""


Arrival = Callable[[], None]
"""Called before the bytes are used: lets the computation wait for them; raises what went wrong on the way."""


class DiskReader:
    """Reads slices of files into device memory with a few threads; files stay open until `close`."""

    def __init__(self, lane: Lane, threads: int = THREADS, chunk: int = CHUNK) -> None:
        self.lane = lane
        self.chunk = chunk
        self.bytes_read = 0
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._lock = threading.Lock()
        self._files: list[BinaryIO] = []
        self._staging: list[Tensor] = []

    def read(self, parts: Sequence[tuple[FileSlice, int]], target: Tensor, after: Mark) -> Arrival:
        """Begin to fill `target` (uint8) once `after` is reached, each slice at the offset beside it."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="weights")
        futures: list[Future[Mark]] = []
        for piece, at in parts:
            narrow, wide = piece.stored.itemsize, piece.used.itemsize
            most = self.chunk // max(narrow, wide) * narrow
            for done in range(0, piece.nbytes, most):
                count = min(most, piece.nbytes - done)
                aim = target[at + done // narrow * wide : at + (done + count) // narrow * wide]
                futures.append(self._pool.submit(self._read, piece, done, count, aim, after))

        def arrive() -> None:
            wait(futures)
            errors = [error for future in futures if (error := future.exception()) is not None]
            for future in futures:
                if future.exception() is None:
                    self.lane.wait(future.result())
            if errors:
                raise errors[0]

        return arrive

    def close(self) -> None:
        """Stop the threads and let go of files and buffers; a later `read` begins anew."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()
        for flat in self._staging:
            self.lane.free_host(flat)
        self._pool, self._local, self._files, self._staging = None, threading.local(), [], []

    def _read(self, piece: FileSlice, done: int, count: int, target: Tensor, after: Mark) -> Mark:
        if target.is_meta:
            return None
        if on_host(target):
            self._fill_cast(piece, done, count, target)
            return self.lane.mark()
        part = self._own_staging("sent")[: len(target)]
        self.lane.finish(getattr(self._local, "mark", None))
        self._fill_cast(piece, done, count, part)
        self._local.mark = self.lane.copy(target, part, after)
        return self._local.mark

    def _fill_cast(self, piece: FileSlice, done: int, count: int, target: Tensor) -> None:
        """Fill `target`, on the host, with `count` of the piece's bytes from `done` on, as what they are used as."""
        if piece.stored == piece.used:
            self._fill(piece.path, piece.offset + done, target)
            return
        part = self._own_staging("stored")[:count]
        self._fill(piece.path, piece.offset + done, part)
        target.view(piece.used).copy_(part.view(piece.stored))

    def _fill(self, path: Path, offset: int, target: Tensor) -> None:
        file = self._own_file(path)
        file.seek(offset)
        rest = memoryview(target.numpy())  # pyright: ignore[reportArgumentType]
        while rest:
            count = file.readinto(rest)  # pyright: ignore[reportAttributeAccessIssue]
            if not count:
                raise OSError(f"{path} ends before byte {offset + len(target)}: it was cut short while in use")
            rest = rest[count:]
        with self._lock:
            self.bytes_read += len(target)

    def _own_file(self, path: Path) -> BinaryIO:
        files: dict[Path, BinaryIO] = self._local.__dict__.setdefault("files", {})
        if path not in files:
            files[path] = path.open("rb", buffering=0)
            with self._lock:
                self._files.append(files[path])
        return files[path]

    def _own_staging(self, use: str) -> Tensor:
        if use not in self._local.__dict__:
            flat = self.lane.host(self.chunk)
            self._local.__dict__[use] = flat
            with self._lock:
                self._staging.append(flat)
        return self._local.__dict__[use]


def on_host(target: Tensor) -> bool:
    """Whether a file can be read right into it."""
    return target.device.type == "cpu"
