"""Muon for the blocks' matrices, Adam for the rest, on a float32 master copy of bf16 weights.

Muon replaces a matrix's momentum by its nearest semi-orthogonal one (four Newton-Schulz steps, Keller Jordan, 2024).
Adam's second moment is one number a row, and the moving average of the weights is kept as a bf16 difference to the
master: both keep the resume checkpoint below 60 MB.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

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


def orthogonal(matrices: Tensor, steps: int = 4) -> Tensor:
    """(N, R, C) -> matrices with the same singular vectors and singular values near one."""
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    wide = x if x.shape[1] <= x.shape[2] else x.mT
    for _ in range(steps):
        square = wide @ wide.mT
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide if x.shape[1] <= x.shape[2] else wide.mT


class Optimizer:
    """Steps the parameters of `module`; `matrices` names the ones Muon moves."""

    def __init__(self, module: nn.Module, matrices: set[str], recipe: OptimizerRecipe) -> None:
        self.recipe = recipe
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.master = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.average = {name: torch.zeros_like(m, dtype=torch.bfloat16) for name, m in self.master.items()}
        self.first = {name: torch.zeros_like(m, dtype=torch.bfloat16) for name, m in self.master.items()}
        self.second = {name: torch.zeros_like(_rows(m)) for name, m in self.master.items() if name not in matrices}
        self.shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in sorted(matrices):
            self.shapes[tuple(self.master[name].shape)].append(name)
        self.step_count = 0

    @torch.no_grad()
    def step(self, rate: float) -> float:
        """One update with learning rates times `rate`; returns the gradients' norm before clipping and clears them."""
        self.step_count += 1
        grads = {name: p.grad.float() for name, p in self.parameters.items() if p.grad is not None}
        norm = float(torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt())  # one wait for a GPU
        if not math.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {self.step_count}: lower the learning rates")
        scale = min(1.0, self.recipe.clip / (norm + 1e-12))
        old = {name: self.master[name].clone() for name in grads}
        for shape, names in self.shapes.items():
            self._muon([name for name in names if name in grads], shape, grads, rate)
        for name in self.second.keys() & grads.keys():
            self._adam(name, grads[name] * scale, rate)
        decay = min(self.recipe.average, self.step_count / (self.step_count + 10))
        for name, parameter in self.parameters.items():
            if name in grads:
                difference = self.average[name].float() + (old[name] - self.master[name])
                self.average[name].copy_(difference * decay)
                parameter.copy_(self.master[name])
            else:
                self.average[name].mul_(decay)
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
    def load(self, state: dict[str, Tensor], step_count: int) -> None:
        """Continue from `state()` as it was after `step_count` steps.

        A vocabulary may have grown since then: its first rows are the saved ones, the rest stay as they were made.
        Raises ValueError for other names and other shapes.
        """
        mine = self.state()
        wrong = mine.keys() ^ state.keys() or {name for name in state if not _fits(name, state[name], mine[name])}
        if wrong:
            raise ValueError(f"the checkpoint is of another model: {sorted(wrong)[:4]} do not match")
        for name, tensor in state.items():
            mine[name][: len(tensor)].copy_(tensor) if tensor.ndim else mine[name].copy_(tensor)
        for name, parameter in self.parameters.items():
            parameter.copy_(self.master[name])
        self.step_count = step_count

    def _muon(self, names: list[str], shape: tuple[int, ...], grads: dict[str, Tensor], rate: float) -> None:
        if not names:
            return
        momentum = self.recipe.momentum
        wanted = []
        for name in names:
            average = self.first[name].float().lerp_(grads[name], 1 - momentum)
            self.first[name].copy_(average)
            wanted.append(grads[name].lerp(average, momentum))
        update = orthogonal(torch.stack(wanted)).float()
        size = self.recipe.muon * rate * max(1.0, shape[0] / shape[1]) ** 0.5
        for name, change in zip(names, update, strict=True):
            self.master[name].sub_(change, alpha=size)

    def _adam(self, name: str, grad: Tensor, rate: float) -> None:
        fast, slow = self.recipe.betas
        first = self.first[name].float().lerp_(grad, 1 - fast)
        self.first[name].copy_(first)
        second = self.second[name].lerp_(_rows(grad.square()), 1 - slow)
        first = first / (1 - fast**self.step_count)
        second = (second / (1 - slow**self.step_count)).sqrt_()
        self.master[name].sub_(first / second.add_(1e-8), alpha=self.recipe.adam * rate)


def _fits(name: str, saved: Tensor, mine: Tensor) -> bool:
    """Whether a saved tensor has the shape of this run's, or fewer words."""
    if name.endswith(VOCABULARIES):
        return saved.shape[1:] == mine.shape[1:] and len(saved) <= len(mine)
    return saved.shape == mine.shape


def _rows(tensor: Tensor) -> Tensor:
    """The mean of each row, (R, 1, ...); a vector stays one. A row is a word's embedding or an output channel."""
    return tensor.mean(dim=tuple(range(1, tensor.ndim)), keepdim=True) if tensor.ndim > 1 else tensor
