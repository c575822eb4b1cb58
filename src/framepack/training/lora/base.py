"""The frozen weights under a LoRA in less memory: a byte a weight, or none of them on the device.

    freeze(transformer, "int8")

Matrices are multiplied as they are stored and scaled afterwards, row by row, so only one matrix at a time is ever held
in full precision. The backward pass fetches each matrix again instead of keeping it. Where the base is offloaded, its
matrices are no parameters: the memory manager does not see them, and each goes to the device when it is multiplied.
Boundary: linears of one module; trains nothing.
"""

import re
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from framepack.memory.copy_streams import CopyStream
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.in_files import check_lora_room
from framepack.training.lora.adapter import TARGETS

BASES = {
    "whole": "as the model is, on the device",
    "int8": "a byte a weight, on the device",
    "offloaded": "as the model is, in RAM",
    "int8-offloaded": "a byte a weight, in RAM",
}


class FrozenLinear(nn.Linear):
    """A linear that is never trained; gradients pass through it to what came before."""

    def __init__(
        self, linear: nn.Linear, *, int8: bool, offloaded: bool, copy_stream: CopyStream | None = None
    ) -> None:
        """int8: keep bytes and a scale for each row. offloaded: keep the matrix in RAM, for fast copies."""
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.bias = linear.bias
        matrix = linear.weight.detach()
        self.scale: nn.Parameter | None = None
        if int8:
            matrix, scale = quantised(matrix)
            self.scale = nn.Parameter(scale, requires_grad=False)
        self.host: Tensor | None = None
        if offloaded:
            self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)  # tells peft the device
            self.host = matrix if copy_stream is None else pinned_copy(matrix, copy_stream, self)
        else:
            self.weight = nn.Parameter(matrix, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        product = Product.apply(x, self) if torch.is_grad_enabled() and x.requires_grad else self.times(x)
        return product if self.bias is None else product + self.bias

    def matrix(self, x: Tensor) -> Tensor:
        """The stored matrix where `x` is, in its dtype; not yet scaled."""
        stored = self.weight if self.host is None else self.host.to(x.device, non_blocking=True)
        return stored.to(x.dtype)

    def times(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs), without the bias."""
        product = functional.linear(x, self.matrix(x))
        return product if self.scale is None else product * self.scale.to(x.dtype)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient of the output to that of the input."""
        scaled = gradient if self.scale is None else gradient * self.scale.to(gradient.dtype)
        return scaled @ self.matrix(gradient)


class Product(torch.autograd.Function):
    """A product with a frozen matrix that keeps nothing for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        return layer.times(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(gradients[0]), None


def pinned_copy(matrix: Tensor, copy_stream: CopyStream, owner: object) -> Tensor:
    """A copy in host memory that the copy stream's device reads fast, given back with its owner.

    Torch's own pinned memory takes the next power of two (128 MiB for 72) and does not give it back.
    """
    flat = copy_stream.host(matrix.nbytes)
    weakref.finalize(owner, copy_stream.free_host, flat).atexit = False
    return flat.view(matrix.dtype).view(matrix.shape).copy_(matrix)


def quantised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(outputs, inputs) to int8 and a float32 scale for each row: the nearest of 255 levels up to its largest entry."""
    wide = matrix.float()
    scale = wide.abs().amax(dim=1).clamp(min=1e-12) / 127
    return (wide / scale[:, None]).round().to(torch.int8), scale


def freeze(module: nn.Module, base: str, copy_stream: CopyStream | None = None) -> None:
    """Replace the linears that adapters go to, in place, by frozen ones of a kind of BASES.

    copy_stream: of the device they are for, where copies to it want memory of its own. Each old matrix goes before
    the next one is made.
    """
    if base not in BASES:
        raise ValueError(f"base must be one of {', '.join(BASES)}, got {base!r}")
    if base == "whole":
        return
    names = [name for name, one in module.named_modules() if isinstance(one, nn.Linear) and re.fullmatch(TARGETS, name)]
    for name in names:
        parent, _, child = name.rpartition(".")
        linear = module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        frozen = FrozenLinear(linear, int8="int8" in base, offloaded="offloaded" in base, copy_stream=copy_stream)
        setattr(module.get_submodule(parent), child, frozen)
        del linear


def use_base(framepack: FramePack, base: str) -> None:
    """Let the memory manager lend the transformer with its base frozen so, from the next lease on."""
    if base == "whole":
        return
    memory = framepack.memory
    framepack.unload()  # the encoders have done their work, and would have their RAM beside the whole transformer's
    check_lora_room(memory.budget, framepack.loader.sizes()["transformer"])

    def load() -> nn.Module:
        module = framepack.loader.load("transformer", loras=framepack.loras)
        freeze(module, base, memory.copy_stream if memory.device.type == "cuda" else None)
        return module

    memory.remove("transformer")
    transformer = framepack.family["transformer"]
    memory.add("transformer", load, blocks=transformer.blocks, once=transformer.once)
