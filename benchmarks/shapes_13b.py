"""The full 13 B transformer with random weights, and inputs for one step; shared by the memory benchmarks.

Weights are slices of one random pool (normal, 0.02), so that 25.75 GB take seconds to make and still differ everywhere.
`small` keeps every kind of layer and is quick on any machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from framepack.memory.copy_streams import CopyStream, CudaCopyStream, copy_stream_for
from framepack.models.attention import fuses_bfloat16
from framepack.models.config import TransformerConfig
from framepack.models.hunyuan.transformer import ConditionTable, PackedTokens
from framepack.models.packing import ContextLatents

CONFIGS = {
    "full": TransformerConfig(),
    "small": TransformerConfig(
        num_attention_heads=4,
        attention_head_dim=64,
        num_layers=4,
        num_single_layers=8,
        text_embed_dim=128,
        pooled_projection_dim=64,
        image_proj_dim=64,
        rope_axes_dim=(16, 24, 24),
    ),
}
POOL = 32 << 20
WINDOW = 9


class Pool:
    """Endless random numbers, none of them drawn twice for the same place."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.values = (torch.randn(POOL, generator=generator) * 0.02).to(dtype)
        self.at = 0

    def runs(self, count: int) -> Iterator[Tensor]:
        """`count` numbers in runs, each starting elsewhere in the pool."""
        while count:
            run = self.values[self.at : self.at + count]
            yield run
            count -= len(run)
            self.at = (self.at + len(run) + 7919) % (POOL - 1)

    def fill(self, module: nn.Module) -> None:
        """Give a module on the meta device weights on the CPU, in place."""
        for part in module.modules():
            self.fill_own(part)

    def fill_own(self, part: nn.Module) -> None:
        """The weights that are its own, not its submodules'."""
        for name, parameter in list(part.named_parameters(recurse=False)):
            flat = torch.cat(list(self.runs(parameter.numel())))
            setattr(part, name, nn.Parameter(flat.reshape(parameter.shape), requires_grad=False))


def fill_shared(module: nn.Module, *kinds: Iterable[nn.Module]) -> None:
    """As `Pool.fill`, but blocks of one kind share memory: a host that could not hold all of them can use them all."""
    for kind in kinds:
        first, *others = kind
        Pool(next(first.parameters()).dtype).fill(first)
        for block in others:
            for name, weight in list(first.named_parameters()):
                parent, _, leaf = name.rpartition(".")
                setattr(block.get_submodule(parent), leaf, nn.Parameter(weight.data, requires_grad=False))
    pool = Pool(next(module.parameters()).dtype)
    for part in module.modules():
        if any(weight.is_meta for weight in part.parameters(recurse=False)):
            pool.fill_own(part)


class SharedHost(CudaCopyStream):
    """Page-locked buffers of one size are one: what is in them is the same, and its copies take as long."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.buffers: dict[int, Tensor] = {}

    def host(self, nbytes: int) -> Tensor:
        if nbytes not in self.buffers:
            self.buffers[nbytes] = super().host(nbytes)
        return self.buffers[nbytes]

    def free_host(self, flat: Tensor) -> None:
        pass


def lane_of(device: torch.device) -> CopyStream:
    """For modules whose blocks share memory."""
    return SharedHost(device) if device.type == "cuda" else copy_stream_for(device)


def half_of(device: torch.device) -> torch.dtype:
    """What the device multiplies fast: bfloat16, or float16 before Ampere."""
    return torch.bfloat16 if fuses_bfloat16(device) else torch.float16


def config_json(config: TransformerConfig) -> dict[str, Any]:
    """What a checkpoint's config.json says."""
    return {"_class_name": "HunyuanVideoTransformer3DModelPacked", **asdict(config)}


def device_of(name: str) -> torch.device:
    """`cuda` as the GPU it stands for: what limits a process's share of memory wants a number."""
    device = torch.device(name)
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def condition(transformer: Any, steps: int, device: torch.device | str) -> ConditionTable:
    """The table of `steps` steps of some prompt and picture."""
    config: TransformerConfig = transformer.config
    draw = torch.Generator().manual_seed(1)
    dtype = next(transformer.parameters()).dtype

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(device, dtype)

    return transformer.condition(
        torch.linspace(1000, 100, steps).to(device),
        torch.full((1,), 10000.0).to(device),
        random(1, config.pooled_projection_dim),
        random(1, 30, config.text_embed_dim),
        None,
        random(1, 729, config.image_proj_dim),
    )


def pack(transformer: Any, height: int, width: int, device: torch.device | str) -> PackedTokens:
    """A section's context at `height` x `width` pixels, laid out as in the inverted order's last section."""
    draw = torch.Generator().manual_seed(2)

    def context(at: list[int], scale: Any) -> ContextLatents:
        shape = (1, transformer.config.in_channels, len(at), height // 8, width // 8)
        return ContextLatents(latents=torch.randn(shape, generator=draw).to(device), at=at, scale=scale)

    spans = [context([0], 1), context([10], 1), context([11, 12], 2), context(list(range(13, 29)), 4)]
    return transformer.pack(spans, list(range(1, 1 + WINDOW)), (WINDOW, height // 8, width // 8))


def noise(transformer: Any, height: int, width: int, device: torch.device | str) -> Tensor:
    """The noisy window, (1, C, 9, h, w) float32."""
    shape = (1, transformer.config.in_channels, WINDOW, height // 8, width // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).to(device)
