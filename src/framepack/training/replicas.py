"""One training in several processes, on one machine or many: each has its share of a batch, gradients are averaged.

torchrun starts the processes and connects them; without it there is one. The main process writes the files.
"""

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, distributed, nn

TIMEOUT = timedelta(hours=2)
"""for the other processes: the main one fits the VAE and makes the sample videos alone"""


def rank() -> int:
    """This process's number; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@dataclass(frozen=True)
class Replicas:
    """The processes that train one model together."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return not self.rank

    def device(self, wanted: torch.device | str) -> torch.device:
        """The device itself; each process of a machine gets a GPU of its own, unless one is named."""
        device = torch.device(wanted)
        if device.type == "cuda" and device.index is None and self.world_size > 1:
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        return device

    def local_batch(self, batch: int) -> int:
        """Samples of a batch for each process, at least one."""
        return max(1, round(batch / self.world_size))

    def random(self, *seed: int) -> Generator:
        """A generator with other numbers in each process; the main one has those of a single process."""
        return np.random.default_rng((*seed, self.rank) if self.rank else seed)

    def average_gradients(self, parameters: Iterable[nn.Parameter], *values: Tensor) -> list[float]:
        """Average gradients over all processes, in place; returns the means of the scalar `values`."""
        if self.world_size == 1:
            return [float(value) for value in values]
        parameters = list(parameters)
        device = parameters[0].device
        present = torch.tensor([float(p.grad is not None) for p in parameters], device=device)
        distributed.all_reduce(present, op=distributed.ReduceOp.MAX)
        used = [parameter for parameter, has_one in zip(parameters, present.tolist(), strict=True) if has_one]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in used]
        flat = torch.cat([part.detach().reshape(-1).float() for part in (*gradients, *values) if part is not None])
        distributed.all_reduce(flat)
        parts = (flat / self.world_size).split([*(p.numel() for p in used), *(1 for _ in values)])
        for parameter, part in zip(used, parts, strict=False):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        return [float(part) for part in parts[len(used) :]]

    def broadcast(self, choice: bool) -> bool:
        """The main process's choice."""
        if self.world_size == 1:
            return choice
        shared = [choice]
        distributed.broadcast_object_list(shared)
        return shared[0]

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """The main process runs the body before the others, which find the files it wrote."""
        if self.rank:
            self.barrier()
        yield
        if not self.rank:
            self.barrier()

    def barrier(self) -> None:
        """Wait for all processes."""
        self.broadcast(True)


def replicas() -> Replicas:
    """The processes that torchrun started, or this one alone. The first call connects them."""
    if world_size() == 1:
        return Replicas()
    if not distributed.is_initialized():
        distributed.init_process_group(timeout=TIMEOUT)
        atexit.register(_destroy)
    return Replicas(distributed.get_rank(), distributed.get_world_size())


def _destroy() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
