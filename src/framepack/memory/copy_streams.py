"""How bytes reach a device: in line where host and device share one queue, on a stream of their own on CUDA.

An event is a point in the compute or the copy queue. `copy` and `wait` never block the host; `synchronize` does.
Boundary: copies flat tensors; knows nothing of modules.
"""

import weakref
from typing import Any, Protocol

import torch
from torch import Tensor

from framepack.memory.allocator import tune_allocator

PAGE = 4096
PORTABLE = 1
"""cudaHostRegisterPortable: pinned for all GPUs of the process."""
CopyEvent = Any
"""An event on CUDA; None where everything happens in order anyway."""


class CopyStream(Protocol):
    """Copies to one device, ordered by events."""

    device: torch.device
    staged: bool
    """Host memory that is not from `host` is slow to copy from, so what is large passes through some that is."""

    def buffer(self, nbytes: int) -> Tensor:
        """Uninitialised bytes on the device, (nbytes,) uint8."""
        ...

    def host(self, nbytes: int) -> Tensor:
        """Uninitialised bytes on the host, (nbytes,) uint8, page-locked where the device copies faster from those."""
        ...

    def is_pinned(self, flat: Tensor) -> bool:
        """Whether the device fetches these bytes of `host` at full rate; systems limit how many may be page-locked."""
        ...

    def free_host(self, flat: Tensor) -> None:
        """Undo `host`, after all copies from it."""
        ...

    def record(self) -> CopyEvent:
        """The present end of the compute queue."""
        ...

    def copy(self, target: Tensor, source: Tensor, after: CopyEvent) -> CopyEvent:
        """Copy once `after` is reached, beside the computation; the event is the copy's end."""
        ...

    def wait(self, event: CopyEvent) -> None:
        """Let the computation that follows start after `event`."""
        ...

    def synchronize(self, event: CopyEvent) -> None:
        """Block the host until `event` is reached."""
        ...

    def trim(self) -> None:
        """Give memory that no tensor uses back to the system."""
        ...


def page_aligned(nbytes: int) -> Tensor:
    """Uninitialised host bytes that begin at a page, exactly as many as asked."""
    with torch.inference_mode(False):
        raw = torch.empty(nbytes + PAGE, dtype=torch.uint8)
    start = -raw.data_ptr() % PAGE
    return raw[start : start + nbytes]


class HostCopyStream:
    """CPU, MPS and meta: a copy is done when `copy` returns, so there is nothing to wait for."""

    staged = False

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)

    def buffer(self, nbytes: int) -> Tensor:
        if self.device.type == "cpu":
            return page_aligned(nbytes)
        with torch.inference_mode(False):
            return torch.empty(nbytes, dtype=torch.uint8, device=self.device)

    def host(self, nbytes: int) -> Tensor:
        return self.buffer(nbytes) if self.device.type == "meta" else page_aligned(nbytes)

    def is_pinned(self, flat: Tensor) -> bool:
        return True

    def free_host(self, flat: Tensor) -> None:
        pass

    def record(self) -> CopyEvent:
        return None

    def copy(self, target: Tensor, source: Tensor, after: CopyEvent) -> CopyEvent:
        target.copy_(source)

    def wait(self, event: CopyEvent) -> None:
        pass

    def synchronize(self, event: CopyEvent) -> None:
        pass

    def trim(self) -> None:
        if self.device.type == "mps":
            torch.mps.empty_cache()


class CudaCopyStream:
    """A copy stream beside the compute stream, ordered by events.

    Host memory is registered, not taken from torch's pinned allocator, which rounds every request up to a power of two
    (a 453 MB block would hold 512 MB).
    """

    staged = True

    def __init__(self, device: torch.device | str) -> None:
        index = torch.device(device).index
        self.device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        tune_allocator(self.device)
        self.stream = torch.cuda.Stream(self.device)
        self.registered: dict[int, Tensor] = {}
        """By address; kept alive, since freed memory that is still registered could be taken for other bytes."""
        weakref.finalize(self, _unregister, self.registered, self.stream).atexit = False

    def buffer(self, nbytes: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.empty(nbytes, dtype=torch.uint8, device=self.device)

    def host(self, nbytes: int) -> Tensor:
        flat = page_aligned(nbytes)
        with torch.cuda.device(self.device):  # else the first card, too, would hold a context of this process
            code = int(torch.cuda.cudart().cudaHostRegister(flat.data_ptr(), nbytes, PORTABLE)) if nbytes else 0  # pyright: ignore
        if nbytes and code == 0:
            self.registered[flat.data_ptr()] = flat
        elif nbytes:
            self._forget_error()
        return flat

    def is_pinned(self, flat: Tensor) -> bool:
        return flat.data_ptr() in self.registered

    def _forget_error(self) -> None:
        """A refused registration (a limit on pinned memory) leaves its code to be raised by the next kernel."""
        try:
            torch.zeros(1, device=self.device).add_(1)
        except RuntimeError:
            return

    def free_host(self, flat: Tensor) -> None:
        if flat.data_ptr() in self.registered:
            self.stream.synchronize()
            torch.cuda.cudart().cudaHostUnregister(flat.data_ptr())  # pyright: ignore
            del self.registered[flat.data_ptr()]

    def record(self) -> CopyEvent:
        return _event(torch.cuda.current_stream(self.device))

    def copy(self, target: Tensor, source: Tensor, after: CopyEvent) -> CopyEvent:
        with torch.cuda.stream(self.stream):
            if after is not None:
                self.stream.wait_event(after)
            target.copy_(source, non_blocking=True)
            return _event(self.stream)

    def wait(self, event: CopyEvent) -> None:
        if event is not None:
            torch.cuda.current_stream(self.device).wait_event(event)

    def synchronize(self, event: CopyEvent) -> None:
        if event is not None:
            event.synchronize()

    def trim(self) -> None:
        torch.cuda.empty_cache()


def _event(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """The present end of a stream. A host that waits for it sleeps: spinning readers would take the cores of others."""
    event = torch.cuda.Event(blocking=True)
    event.record(stream)
    return event


def _unregister(registered: dict[int, Tensor], stream: torch.cuda.Stream) -> None:
    """Give back what a copy stream still has registered when it goes."""
    stream.synchronize()
    for address in registered:
        torch.cuda.cudart().cudaHostUnregister(address)  # pyright: ignore
    registered.clear()


def copy_stream_for(device: torch.device | str) -> CopyStream:
    """The copy stream that fits a device."""
    return CudaCopyStream(device) if torch.device(device).type == "cuda" else HostCopyStream(device)
