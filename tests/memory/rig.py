"""A small module with blocks, and a copy stream that behaves as badly as a real copy stream may."""

import random
import threading

import torch
from safetensors.torch import save_file
from torch import nn

from framepack.memory import map_weights
from framepack.memory.copy_streams import HostCopyStream


class Block(nn.Module):
    """One of two sizes, with modulation that only a once-a-job call reads, a tied weight and a buffer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.Linear(width, 3 * width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.register_buffer("scale", torch.rand(1))

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        shift, scale, gate = modulation.chunk(3, -1)
        return x + gate * self.down(torch.tanh(self.up(x * scale + shift))) * self.scale


class Net(nn.Module):
    """Blocks run in a circle, step after step, between an embedder and a head."""

    def __init__(self, count: int = 7, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Linear(4, width)
        self.blocks = nn.ModuleList([Block(width, 64 if i % 3 else 96) for i in range(count)])
        self.head = nn.Linear(width, 4)

    @property
    def once(self) -> list[nn.Module]:
        return [block.norm for block in self.blocks]

    def condition(self, vector: torch.Tensor) -> list[torch.Tensor]:
        return [part(vector) for part in self.once]

    def forward(self, x: torch.Tensor, modulation: list[torch.Tensor], skip: frozenset[int] = frozenset()):
        x = self.embed(x)
        for index, (block, vectors) in enumerate(zip(self.blocks, modulation, strict=True)):
            if index not in skip:
                x = block(x, vectors)
        return self.head(x)


def net(seed: int = 0, count: int = 7) -> Net:
    torch.manual_seed(seed)
    return Net(count).eval().requires_grad_(False)


def inputs(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """x (3, 4) and the vector that modulation comes from (1, 16)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 4, generator=generator), torch.randn(1, 16, generator=generator)


def expected(module: Net, steps: int = 3) -> torch.Tensor:
    """What `module` computes with all its weights at hand."""
    x, vector = inputs()
    table = module.condition(vector)
    for _ in range(steps):
        x = module(x, table)
    return x


def mapped(folder, seed: int = 0, count: int = 7) -> tuple[Net, dict]:
    """The same weights as `net(seed, count)`, left in a file of `folder`, and where they lie."""
    path = folder / f"net-{seed}.safetensors"
    weights = dict(net(seed, count).state_dict())
    save_file(weights, path)
    with torch.device("meta"):
        module = Net(count).eval()
    return module, map_weights(module, {path: {name: name for name in weights}})


class RacyCopyStream(HostCopyStream):
    """Copies late, at a moment of its own choosing, and never before it must; targets hold garbage until then.

    It also fails when a copy is not ordered behind the last use of what it overwrites.
    """

    def __init__(self, seed: int) -> None:
        super().__init__("cpu")
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.queue = []
        self.clock = 0
        self.done = 0
        self.issued = 0
        self.last_use = {}
        self.host_waits = 0

    def use(self, tensor: torch.Tensor) -> None:
        """A computation reads this memory now."""
        self.clock += 1
        self.last_use[tensor.untyped_storage().data_ptr()] = self.clock

    def record(self):
        self.clock += 1
        return ("compute", self.clock)

    def copy(self, target, source, after):
        assert after[1] >= self.last_use.get(target.untyped_storage().data_ptr(), 0), "overwrites what is in use"
        with self.lock:
            target.fill_(255)
            self.issued += 1
            self.queue.append((target, source, self.issued))
            self._run(self.random.randint(0, len(self.queue)))
            return ("copy", self.issued)

    def wait(self, mark) -> None:
        if mark is not None and mark[0] == "copy":
            with self.lock:
                self._run(mark[1] - self.done)

    def synchronize(self, event) -> None:
        self.host_waits += 1
        self.wait(event)

    def _run(self, count: int) -> None:
        for _ in range(max(0, count)):
            target, source, number = self.queue.pop(0)
            target.copy_(source)
            self.done = number
