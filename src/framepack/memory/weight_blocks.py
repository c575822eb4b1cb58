"""Tensors that travel together: a block, a once-a-job module, or what is left of a module.

A block's tensors keep their identity; only what they point to changes. Weights are read-only while on loan: leaving the
device drops the copy there. Boundary: one block at a time; who goes where is decided elsewhere.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from framepack.memory.buffers import Layout
from framepack.memory.copy_streams import CopyEvent, CopyStream
from framepack.memory.disk import DiskReader, WaitFor, on_host
from framepack.memory.mapped import FileSlice


@dataclass(eq=False)
class WeightBlock:
    """Some tensors, where they live on the host, and their copy on the device while there is one."""

    tensors: tuple[Tensor, ...]
    files: tuple[FileSlice | None, ...]
    """The bytes on disk behind each tensor, where they are still the same."""
    home: list[Tensor] = field(init=False)
    layout: Layout = field(init=False)
    host: Tensor | None = field(default=None, init=False)
    """One flat pinned buffer for all tensors, once they are to be copied often."""
    device: Tensor | None = field(default=None, init=False)
    origin: list[Tensor] = field(init=False)
    """Its first home, kept where it is a map of files, which costs nothing."""

    def __post_init__(self) -> None:
        self.home = [tensor.data for tensor in self.tensors]
        self.origin = self.home if all(self.files) else []
        self.layout = Layout.of([_as_used(*pair) for pair in zip(self.home, self.files, strict=True)])

    @property
    def nbytes(self) -> int:
        return self.layout.nbytes

    @property
    def on_disk(self) -> bool:
        """Whether the host need not hold it: it can be read from its files at any time."""
        return self.host is None and all(self.files)

    @property
    def in_files(self) -> bool:
        """Whether any of it is still in its file, maybe not as what it is used as, and must be read for use."""
        return self.host is None and any(self.files)

    def point(self, where: Sequence[Tensor]) -> None:
        """Let the module compute with the tensors `where`."""
        for tensor, data in zip(self.tensors, where, strict=True):
            tensor.data = data

    def fill(self, flat: Tensor, copy_stream: CopyStream, reader: DiskReader, after: CopyEvent) -> WaitFor:
        """Begin to bring all bytes to `flat`, on the device, once `after` is reached."""
        if self.host is not None:
            event = copy_stream.copy(flat[: self.nbytes], self.host, after)
            return lambda: copy_stream.wait(event)
        staged = not on_host(flat) and (copy_stream.staged or any(self.files))
        reads, copies = [], []
        for view, piece, home, file in zip(
            self.layout.views(flat), self.layout.pieces, self.home, self.files, strict=True
        ):
            if file is not None or staged:
                reads.append((file or piece.bytes_of(home), piece.offset))
            else:
                copies.append((view, home))
        events = [copy_stream.copy(view, home, after) for view, home in copies]
        try:
            wait_for = reader.read(reads, flat, after)
        except BaseException:
            for event in events:  # else they would land in memory that was loaned to others meanwhile
                copy_stream.synchronize(event)
            raise

        def wait_for_all() -> None:
            for event in events:
                copy_stream.wait(event)
            wait_for()

        return wait_for_all

    def fetch(self, copy_stream: CopyStream, reader: DiskReader) -> WaitFor:
        """Begin to bring it to the device to stay; the module may compute with it after the arrival is called."""
        if self.device is not None:
            return lambda: None
        flat = copy_stream.buffer(self.nbytes)
        wait_for = self.fill(flat, copy_stream, reader, copy_stream.record())
        self.device = flat
        self.point(self.layout.views(flat))
        return wait_for

    def drop(self) -> int:
        """Leave the device; the bytes freed."""
        if self.device is None:
            return 0
        self.point(self.home)
        self.device = None
        return self.nbytes

    def pin(self, copy_stream: CopyStream, reader: DiskReader) -> None:
        """Move its home into one flat pinned buffer, so that it travels in one copy, at full rate.

        Where the system refuses to lock that much it stays, and passes through the reader's buffers.
        """
        if self.host is not None:
            return
        host = copy_stream.host(self.nbytes)
        if not copy_stream.is_pinned(host):
            return
        self.fill(host, copy_stream, reader, copy_stream.record())()
        self._set_home(self.layout.views(host), host)

    def unpin(self, copy_stream: CopyStream) -> int:
        """Give the pinned buffer back where the files still hold the same bytes; the host bytes freed."""
        host = self.host
        if host is None or not all(self.files):
            return 0
        self._set_home(self.origin, None)
        copy_stream.free_host(host)
        return self.nbytes

    def _set_home(self, home: list[Tensor], host: Tensor | None) -> None:
        self.home, self.host = home, host
        if self.device is None:
            self.point(home)


@dataclass(frozen=True, kw_only=True)
class Split:
    """A module's tensors, each in exactly one block."""

    rest: WeightBlock
    """What every use needs."""
    blocks: tuple[WeightBlock, ...]
    once: tuple[WeightBlock, ...]


def split(
    module: nn.Module,
    blocks: Sequence[nn.Module] = (),
    once: Sequence[nn.Module] = (),
    files: Mapping[str, FileSlice] | None = None,
) -> Split:
    """Cut a module into blocks. A tensor of a once-a-job module is not its block's; a shared one is the rest's."""
    slices = _slices(module, files or {})
    claims = Counter(id(tensor) for part in once for tensor in _tensors(part))
    taken = set(claims)
    claims += Counter(id(tensor) for part in blocks for tensor in _tensors(part) if id(tensor) not in taken)
    taken = {key for key, count in claims.items() if count == 1}
    in_once = {id(tensor) for part in once for tensor in _tensors(part)}

    def weight_block(tensors: Sequence[Tensor]) -> WeightBlock:
        return WeightBlock(tuple(tensors), tuple(slices.get(id(tensor)) for tensor in tensors))

    return Split(
        rest=weight_block([t for t in _tensors(module) if id(t) not in taken]),
        blocks=tuple(weight_block([t for t in _tensors(b) if id(t) in taken and id(t) not in in_once]) for b in blocks),
        once=tuple(weight_block([t for t in _tensors(part) if id(t) in taken]) for part in once),
    )


def _as_used(tensor: Tensor, file: FileSlice | None) -> Tensor:
    """The tensor; where it will be cast, its shape in the dtype it is used as."""
    if file is None or file.used == file.stored:
        return tensor
    return torch.empty_like(tensor, dtype=file.used, device="meta")


def _tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once, in the order of their names' appearance."""
    return [*module.parameters(), *module.buffers()]


def _slices(module: nn.Module, files: Mapping[str, FileSlice]) -> dict[int, FileSlice]:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {id(t): files[name] for name, t in tensors.items() if name in files and files[name].holds(t)}
