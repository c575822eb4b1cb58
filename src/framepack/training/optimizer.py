"""Muon for the blocks' matrices, Adam for the rest, on a float32 master copy of bf16 weights.

Muon replaces a matrix's momentum by its nearest semi-orthogonal one (four Newton-Schulz steps, Keller Jordan, 2024).
Adam's second moment is one number a row, by default, and the moving average of the weights is stored as a bf16
difference to the master: both keep the resume checkpoint below 60 MB. Tensors are updated in lists, so that a GPU
runs some hundred kernels a step, not thousands: with so small a model their launches would take longer than the work.
"""

# pyright: reportPrivateImportUsage=false

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
VOCABULARIES = ("embed_tokens.weight", "token_embedding.weight")
"""Ends of the names of tensors with a row for each word; words are only added at the end."""


@dataclass(frozen=True, kw_only=True)
class OptimizerRecipe:
    """Learning rates at their peak and the other constants."""

    muon: float = 0.02
    adam: float = 1e-3
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    """largest norm of all gradients together"""
    average: float = 0.998
    """decay of the moving average of the weights"""
    rows: bool = True
    """one second moment for each row, not for each number: a third less to store"""


def orthogonalize(matrices: Tensor, steps: int = 4) -> Tensor:
    """(N, R, C) -> matrices with the same singular vectors and singular values near one."""
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    wide = x if x.shape[1] <= x.shape[2] else x.mT
    for _ in range(steps):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if x.shape[1] <= x.shape[2] else wide.mT


class Optimizer:
    """Updates the parameters of `module`; `matrices` names those that Muon updates."""

    def __init__(
        self, module: nn.Module, matrices: set[str], recipe: OptimizerRecipe, rates: Mapping[str, float] | None = None
    ) -> None:
        """rates: factors on Adam's learning rate, by name, where they are not one."""
        self.recipe, self.rates = recipe, rates or {}
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.master = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.average = {name: torch.zeros_like(m, dtype=torch.bfloat16) for name, m in self.master.items()}
        self.first = {name: torch.zeros_like(m, dtype=torch.bfloat16) for name, m in self.master.items()}
        self.second = {n: torch.zeros_like(self._row_means(m)) for n, m in self.master.items() if n not in matrices}
        self.shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in sorted(matrices):
            self.shapes[tuple(self.master[name].shape)].append(name)
        self.step_count = 0

    @torch.no_grad()
    def step(self, rate: float) -> float:
        """One update with learning rates times `rate`; returns the gradients' norm before clipping and clears them."""
        self.step_count += 1
        grads = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        grads = dict(zip(grads, _to_float32(list(grads.values())), strict=True))
        norm = float(torch.nn.utils.get_total_norm(grads.values()))  # the one wait for a GPU
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {self.step_count}: lower the learning rates")
        masters, averages = _select(self.master, grads), _select(self.average, grads)
        old = _to_float32(masters)
        for shape, names in self.shapes.items():
            self._muon([name for name in names if name in grads], shape, grads, rate)
        scale = min(1.0, self.recipe.clip / (norm + 1e-12))
        self._adam([name for name in self.second if name in grads], scale, grads, rate)
        decay = min(self.recipe.average, self.step_count / (self.step_count + 10))
        differences = _to_float32(averages)
        torch._foreach_add_(differences, torch._foreach_sub(old, masters))
        torch._foreach_mul_(differences, decay)
        torch._foreach_copy_(averages, differences)
        for name in self.average.keys() - grads.keys():
            self.average[name].mul_(decay)
        torch._foreach_copy_(_select(self.parameters, grads), masters)
        for parameter in self.parameters.values():
            parameter.grad = None
        return norm

    def averaged(self) -> dict[str, Tensor]:
        """The moving average of the weights, float32."""
        return {name: master + self.average[name].float() for name, master in self.master.items()}

    def state(self) -> dict[str, Tensor]:
        """All tensors that a later run needs, by name."""
        groups = {"master": self.master, "average": self.average, "first": self.first, "second": self.second}
        return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights before the first step; a vocabulary may have grown since these were trained.

        Raises ValueError, the beginning of a sentence, where a name is missing or a shape differs.
        """
        wrong = [n for n, own in self.master.items() if n not in weights or not _fits(n, weights[n], own)]
        if wrong:
            raise ValueError(f"{', '.join(wrong[:4])} do not match")
        for name, own in self.master.items():
            own[: len(weights[name])].copy_(weights[name])
            self.parameters[name].copy_(own)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor], step_count: int) -> None:
        """Continue from `state()` as it was after `step_count` steps.

        A vocabulary may have grown since then: its first rows are the saved ones, the others stay as initialised.
        Raises ValueError for other names and other shapes.
        """
        own = self.state()
        wrong = own.keys() ^ state.keys() or {name for name in state if not _fits(name, state[name], own[name])}
        if wrong:
            raise ValueError(f"the checkpoint is of another model: {sorted(wrong)[:4]} do not match")
        for name, tensor in state.items():
            own[name][: len(tensor)].copy_(tensor) if tensor.ndim else own[name].copy_(tensor)
        for name, parameter in self.parameters.items():
            parameter.copy_(self.master[name])
        self.step_count = step_count

    def _muon(self, names: list[str], shape: tuple[int, ...], grads: dict[str, Tensor], rate: float) -> None:
        if not names:
            return
        momentum, new = self.recipe.momentum, _select(grads, names)
        nesterov = torch._foreach_lerp(new, self._update_first(new, names, 1 - momentum), momentum)
        update = orthogonalize(torch.stack(nesterov)).float()
        size = self.recipe.muon * rate * max(1.0, shape[0] / shape[1]) ** 0.5
        torch._foreach_sub_(_select(self.master, names), list(update.unbind()), alpha=size)

    def _adam(self, names: list[str], scale: float, grads: dict[str, Tensor], rate: float) -> None:
        fast, slow = self.recipe.betas
        new, second = list(torch._foreach_mul(_select(grads, names), scale)), _select(self.second, names)
        first = self._update_first(new, names, 1 - fast)
        torch._foreach_lerp_(second, [self._row_means(square) for square in torch._foreach_mul(new, new)], 1 - slow)
        spread = torch._foreach_sqrt(torch._foreach_div(second, 1 - slow**self.step_count))
        torch._foreach_add_(spread, 1e-8)
        torch._foreach_div_(first, 1 - fast**self.step_count)
        torch._foreach_div_(first, spread)
        if self.rates:
            torch._foreach_mul_(first, [self.rates.get(name, 1.0) for name in names])
        torch._foreach_sub_(_select(self.master, names), first, alpha=self.recipe.adam * rate)

    def _row_means(self, tensor: Tensor) -> Tensor:
        """The mean of each row, (R, 1, ...), where they share; a row is a word's embedding or an output channel."""
        shared = self.recipe.rows and tensor.ndim > 1
        return tensor.mean(dim=tuple(range(1, tensor.ndim)), keepdim=True) if shared else tensor

    def _update_first(self, new: list[Tensor], names: list[str], share: float) -> list[Tensor]:
        """First moments, float32, after a step towards the gradients `new`; stored in bf16."""
        stored = _select(self.first, names)
        first = _to_float32(stored)
        torch._foreach_lerp_(first, new, share)
        torch._foreach_copy_(stored, first)
        return first


def _select(tensors: dict[str, Any], names: Iterable[str]) -> list[Tensor]:
    return [tensors[name] for name in names]


def _to_float32(tensors: list[Tensor]) -> list[Tensor]:
    """Copies in float32, in a few kernels for all."""
    copies = [torch.empty_like(tensor, dtype=torch.float32) for tensor in tensors]
    torch._foreach_copy_(copies, tensors)
    return copies


def _fits(name: str, saved: Tensor, own: Tensor) -> bool:
    """Whether a saved tensor has the shape of this run's, or fewer words."""
    if name.endswith(VOCABULARIES):
        return saved.shape[1:] == own.shape[1:] and len(saved) <= len(own)
    return saved.shape == own.shape
