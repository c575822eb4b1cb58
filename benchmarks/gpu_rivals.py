"""diffusers' class for the same transformer, set up in each of the ways it offers to save memory.

Each is a context manager that yields a function of no arguments, one step. The weights are those of our module.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from shapes_13b import WINDOW, config_json
from torch import Tensor, nn

Step = Callable[[], Tensor]


class Rivals:
    """Builds diffusers' module on shared host weights and calls it with inputs of the same sizes as ours."""

    def __init__(
        self, weights: dict[str, Tensor], config: Any, size: tuple[int, int], device: torch.device, *, roomy: bool
    ) -> None:
        """roomy: RAM holds a second copy of all weights, which is what diffusers makes to stream them."""
        self.weights, self.config, self.size, self.device, self.roomy = weights, config, size, device, roomy
        self.dtype = next(iter(weights.values())).dtype

    def module(self) -> Any:
        """A new module on the host, sharing the weights."""
        options = {key: value for key, value in config_json(self.config).items() if not key.startswith("_")}
        with torch.device("meta"):
            module = HunyuanVideoFramepackTransformer3DModel(**options)
        module.load_state_dict(self.weights, assign=True)
        return module.eval().requires_grad_(False)

    def step(self, module: Any) -> Step:
        """One forward with FramePack's whole context."""
        config, (height, width) = self.config, self.size
        draw = torch.Generator().manual_seed(4)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw).to(self.device, self.dtype)

        def latents(frames: int) -> Tensor:
            return random(1, config.in_channels, frames, height // 8, width // 8)

        def at(*indices: int) -> Tensor:
            return torch.tensor(indices)

        inputs = {
            "hidden_states": latents(WINDOW),
            "timestep": torch.full((1,), 500.0, device=self.device, dtype=self.dtype),
            "encoder_hidden_states": random(1, 30, config.text_embed_dim),
            "encoder_attention_mask": torch.ones(1, 30, dtype=torch.bool, device=self.device),
            "pooled_projections": random(1, config.pooled_projection_dim),
            "image_embeds": random(1, 729, config.image_proj_dim),
            "indices_latents": at(*range(1, 1 + WINDOW)),
            "guidance": torch.full((1,), 10000.0, device=self.device, dtype=self.dtype),
            "latents_clean": latents(2),
            "indices_latents_clean": at(0, 10),
            "latents_history_2x": latents(2),
            "indices_latents_history_2x": at(11, 12),
            "latents_history_4x": latents(16),
            "indices_latents_history_4x": at(*range(13, 29)),
        }
        return lambda: module(**inputs, return_dict=False)[0]

    @contextmanager
    def resident(self) -> Iterator[Step]:
        """Everything on the device."""
        module = self.module().to(self.device)
        yield self.step(module)

    @contextmanager
    def group(self, level: str, stream: bool) -> Iterator[Step]:
        """diffusers' group offloading: leaf by leaf or block by block, with or without a stream."""
        module = self.module()
        module.enable_group_offload(
            onload_device=self.device,
            offload_device=torch.device("cpu"),
            offload_type=f"{level}_level",
            num_blocks_per_group=1 if level == "block" else None,
            use_stream=stream,
            record_stream=stream,
            low_cpu_mem_usage=stream and not self.roomy,
        )
        yield self.step(module)

    @contextmanager
    def sequential(self) -> Iterator[Step]:
        """accelerate's hooks, which `enable_sequential_cpu_offload` installs."""
        from accelerate import cpu_offload

        module = cpu_offload(self.module(), self.device)
        yield self.step(module)

    @contextmanager
    def per_access(self) -> Iterator[Step]:
        """Each weight copied, synchronously and from pageable memory, when its layer runs: as the public app does."""
        module = self.module()
        homes: dict[nn.Parameter, Tensor] = {}

        def bring(layer: nn.Module, args: object) -> None:
            for parameter in layer.parameters(recurse=False):
                homes[parameter] = parameter.data
                parameter.data = parameter.data.to(self.device)

        def leave(layer: nn.Module, args: object, output: object) -> None:
            for parameter in layer.parameters(recurse=False):
                parameter.data = homes.pop(parameter)

        for layer in module.modules():
            layer.register_forward_pre_hook(bring)
            layer.register_forward_hook(leave)
        yield self.step(module)

    def all(self, weights: int) -> list[tuple[str, int, Callable[[], AbstractContextManager[Step]]]]:
        """Name in the table, bytes of the device that it needs for sure, and the way; the best offloading first.

        weights: bytes of all. Streams only where there are any.
        """
        cuda = self.device.type == "cuda"
        label = "diffusers group, leaf" + (", stream" if cuda else "") + ("" if self.roomy else ", little RAM")
        return [
            ("diffusers resident", weights, self.resident),
            (label, 0, lambda: self.group("leaf", stream=cuda)),
            ("per-access swapping", 0, self.per_access),
            ("diffusers sequential", 0, self.sequential),
        ]
