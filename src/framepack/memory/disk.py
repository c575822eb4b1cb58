"""Brings weights from their files, or from RAM that is not page-locked, into device memory, by several threads.

Each has a page-locked buffer that the device fetches from at full rate; nothing else is kept on the host. Files are
read past their memory maps, whose pages would count as the process's own, and cast where they are to be used in
another dtype. Boundary: byte ranges; what they mean is not its business.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from framepack.memory.copy_streams import CopyEvent, CopyStream
from framepack.memory.mapped import FileSlice

CHUNK = 8 << 20
THREADS = 4
"""Together they keep 32 MB in flight, enough to saturate an NVMe disk."""
ALIGNED = 16
Source = FileSlice | Tensor
"""Of a file, or of host memory: flat, uint8."""
WaitFor = Callable[[], None]
"""Called before the bytes are used: lets the computation wait for them; raises what went wrong on the way."""


class DiskReader:
    """Reads slices of files into device memory with a few threads; files stay open until `close`."""

    def __init__(self, copy_stream: CopyStream, threads: int = THREADS, chunk: int = CHUNK) -> None:
        self.copy_stream = copy_stream
        self.chunk = chunk
        self.bytes_read = 0
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._lock = threading.Lock()
        self._files: list[BinaryIO] = []
        self._staging: list[Tensor] = []

    def read(self, sources: Sequence[tuple[Source, int]], target: Tensor, after: CopyEvent) -> WaitFor:
        """Begin to fill `target` (uint8) once `after` is reached, each source at the offset beside it.

        Bytes of the target that lie between two sources may be overwritten.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="weights")
        futures = [self._pool.submit(self._read, run, target, after) for run in runs(sources, self.chunk)]

        def wait_for() -> None:
            wait(futures)
            errors = [error for future in futures if (error := future.exception()) is not None]
            for future in futures:
                if future.exception() is None:
                    self.copy_stream.wait(future.result())
            if errors:
                raise errors[0]

        return wait_for

    def close(self) -> None:
        """Stop the threads and let go of files and buffers; a later `read` begins anew."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()
        for flat in self._staging:
            self.copy_stream.free_host(flat)
        self._pool, self._local, self._files, self._staging = None, threading.local(), [], []

    def _read(self, run: Sequence["Part"], target: Tensor, after: CopyEvent) -> CopyEvent:
        if target.is_meta:
            return None
        if on_host(target):
            for part in run:
                self._fill_cast(part, target[part.at : part.end])
            return self.copy_stream.record()
        first, last = run[0].at, max(part.end for part in run)
        sent = self._own_staging("sent")[: last - first]
        self.copy_stream.synchronize(getattr(self._local, "event", None))
        for part in run:
            self._fill_cast(part, sent[part.at - first : part.end - first])
        self._local.event = self.copy_stream.copy(target[first:last], sent, after)
        return self._local.event

    def _fill_cast(self, part: "Part", target: Tensor) -> None:
        """Fill `target`, on the host, with the part's bytes as what they are used as."""
        piece = part.source
        if isinstance(piece, Tensor):
            target.copy_(piece[part.done : part.done + part.count])
        elif piece.stored == piece.used:
            self._fill(piece.path, piece.offset + part.done, target)
        else:
            stored = self._own_staging("stored")[: part.count]
            self._fill(piece.path, piece.offset + part.done, stored)
            target.view(piece.used).copy_(stored.view(piece.stored))

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
            flat = self.copy_stream.host(self.chunk)
            self._local.__dict__[use] = flat
            with self._lock:
                self._staging.append(flat)
        return self._local.__dict__[use]


@dataclass(frozen=True)
class Part:
    """Bytes of one source and where in the target they go."""

    source: Source
    done: int
    """Where in the source they begin."""
    count: int
    at: int
    end: int


def runs(sources: Sequence[tuple[Source, int]], chunk: int) -> list[list[Part]]:
    """Cut sources into parts, and join neighbours, so that each run spans at most `chunk` bytes of the target.

    A block's many small tensors travel in one copy. A part begins at a multiple of ALIGNED bytes from its run's start.
    """
    joined: list[list[Part]] = []
    for source, at in sorted(sources, key=lambda pair: pair[1]):
        narrow, wide = (1, 1) if isinstance(source, Tensor) else (source.stored.itemsize, source.used.itemsize)
        most = chunk // max(narrow, wide) * narrow
        for done in range(0, source.nbytes, most):
            count = min(most, source.nbytes - done)
            first = at + done // narrow * wide
            part = Part(source, done, count, first, first + count // narrow * wide)
            start = joined[-1][0].at if joined else first
            if joined and part.end - start <= chunk and (first - start) % ALIGNED == 0:
                joined[-1].append(part)
            else:
                joined.append([part])
    return joined


def on_host(target: Tensor) -> bool:
    """Whether a file can be read right into it."""
    return target.device.type == "cpu"
