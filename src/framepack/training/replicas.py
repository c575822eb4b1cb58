"""One training in several processes, on one machine or many: each shows its share of a batch, gradients are averaged.

torchrun starts the processes and tells them of each other; without it there is one. The first one writes the files.
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

PATIENCE = timedelta(hours=2)
"""how long a process waits for the others: the first one fits the VAE and makes the sample videos alone"""


def rank() -> int:
    """This process's number; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def count() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@dataclass(frozen=True)
class Replicas:
    """The processes that train one model together."""

    rank: int = 0
    count: int = 1

    def device(self, wanted: torch.device | str) -> torch.device:
        """Each process of a machine has a GPU of its own, unless one is named."""
        device = torch.device(wanted)
        if device.type == "cuda" and device.index is None and self.count > 1:
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        return device

    def share(self, batch: int) -> int:
        """How much of a batch this process shows: as much as the others, at least one."""
        return max(1, round(batch / self.count))

    def random(self, *seed: int) -> Generator:
        """Random numbers of this process's own."""
        return np.random.default_rng((*seed, self.rank) if self.rank else seed)

    def average(self, parameters: Iterable[nn.Parameter], *values: Tensor) -> list[float]:
        """Give the parameters the mean of all processes' gradients, in place; returns the means of scalar `values`."""
        if self.count == 1:
            return [float(value) for value in values]
        parameters = list(parameters)
        device = parameters[0].device
        there = torch.tensor([float(p.grad is not None) for p in parameters], device=device)
        distributed.all_reduce(there, op=distributed.ReduceOp.MAX)
        moved = [parameter for parameter, has_one in zip(parameters, there.tolist(), strict=True) if has_one]
        for parameter in moved:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in moved]
        flat = torch.cat([part.detach().reshape(-1).float() for part in (*gradients, *values) if part is not None])
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([*(p.numel() for p in moved), *(1 for _ in values)])
        for parameter, part in zip(moved, parts, strict=False):
            parameter.grad = part.view_as(parameter).to(parameter.dtype)
        return [float(part) for part in parts[len(moved) :]]

    def agree(self, choice: bool) -> bool:
        """What the first process chose."""
        if self.count == 1:
            return choice
        said = [choice]
        distributed.broadcast_object_list(said)
        return said[0]

    @contextmanager
    def first(self) -> Iterator[None]:
        """The body is run by the first process, and then by the others: they find what it wrote."""
        if self.rank:
            self._meet()
        yield
        if not self.rank:
            self._meet()

    def _meet(self) -> None:
        self.agree(True)


def replicas() -> Replicas:
    """The processes that torchrun started, or this one alone; they find each other at the first call."""
    if count() == 1:
        return Replicas()
    if not distributed.is_initialized():
        distributed.init_process_group(timeout=PATIENCE)
        atexit.register(_part)
    return Replicas(distributed.get_rank(), distributed.get_world_size())


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
