"""What a model is made of: its components by name, and how each is found, built without weights, loaded and checked.

Loader, sizes, verify, doctor, planner and estimate iterate over a family and know no component by name. Boundary:
describes; who loads and moves what is others' business. The families are `models.families`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from framepack.models.checkpoint import NameRules

Modules = Callable[[Any], Sequence[nn.Module]]
TOKENIZER = ("tokenizer.json", "vocab.json", "tokenizer_config.json")
"""Files of which a tokenizer's folder has one."""


class Fill(Protocol):
    """Fills a module built on the meta device from a folder; see `checkpoint.load_weights`."""

    def __call__(
        self,
        module: nn.Module,
        folder: Path,
        dtype: torch.dtype | None,
        rules: NameRules,
        buffers: Mapping[str, Tensor] | None,
    ) -> None: ...


def none_of(module: Any) -> Sequence[nn.Module]:
    """No modules."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Component:
    """A part of a model that is loaded, checked and leased by itself. Its functions take the folder of its place."""

    name: str
    title: str
    """For a person."""
    place: str
    """Which of a variant's repositories it is in."""
    weights: tuple[str, ...]
    """Folders there that hold weights and a config.json; "" is the repository's root."""
    small: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other folders, and the files of which each has one."""
    beside: tuple[str, ...] = ()
    """Files in the root of its place that some models have and it reads."""
    precision: Literal["transformer", "encoders", "vae"]
    empty: Callable[[Path], nn.Module]
    """On the meta device, from the configs alone."""
    load: Callable[[Path, torch.dtype, Fill], nn.Module]
    check: Callable[[Path], object]
    """Reads headers only; CheckpointError for what does not fit."""
    blocks: Modules = none_of
    """Its blocks, in the order they run, so that they can be streamed."""
    once: Modules = none_of
    """What only a job's preparation reads."""
    pin: bool = True
    """Streamed blocks come again and again, and are worth pinned host buffers."""
    mappable: bool = False
    """Its weights may stay in their files; of several, the first stays first."""
    loras: bool = False
    """LoRAs are added to its weights."""

    @property
    def folders(self) -> tuple[str, ...]:
        """All it needs of its place."""
        return (*self.weights, *self.small)


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """An architecture. `family["vae"]` is a component."""

    name: str
    components: tuple[Component, ...]
    shapes: Path | None = None
    """Folders by place that hold the published configs, so that a job can be planned before anything is downloaded."""

    def __getitem__(self, name: str) -> Component:
        return next(component for component in self.components if component.name == name)

    def __contains__(self, name: str) -> bool:
        return any(component.name == name for component in self.components)

    def folders(self, place: str) -> tuple[str, ...]:
        """What is needed of one of a variant's repositories."""
        return tuple(folder for part in self.components if part.place == place for folder in part.folders)
