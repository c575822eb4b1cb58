"""A training recipe: everything that decides a run, read from one TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from framepack.files.text import text_of_file
from framepack.models.config import TransformerConfig
from framepack.training.data.clip_recipe import ClipRecipe, check_sizes
from framepack.training.data.pool import PoolRecipe
from framepack.training.data.sample_recipe import SampleRecipe
from framepack.training.data.sections import SectionRecipe
from framepack.training.optimizer import OptimizerRecipe
from framepack.training.transformer.loss import FlowRecipe
from framepack.training.transformer.towers import TowerConfig
from framepack.training.vae.recipe import VaeRecipe

RECIPE_MOST = 1_000_000
"""Bytes of a recipe."""
T = TypeVar("T")
TABLES = ("model", "towers", "vae", "pool", "optimizer", "schedule", "samples", "clips", "sections", "flow", "phases")
PHASE_PARTS: dict[str, type] = {"clips": ClipRecipe, "sections": SectionRecipe, "flow": FlowRecipe}
"""tables that hold for all phases; a phase's own table of that name changes entries of it"""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, and how the learning rates rise and fall."""

    steps: int
    warm_up: int = 60
    decay: float = 0.4
    """share of the steps at the end over which the rates fall to nothing"""
    checkpoint_minutes: float = 4.0

    def __post_init__(self) -> None:
        """Raise ValueError for a run without steps and for rates that cannot be read."""
        if self.steps < 1 or self.warm_up < 1:
            raise ValueError(f"[schedule] needs steps and warm_up of 1 or more, got {self.steps} and {self.warm_up}")

    def rate(self, step: int, stepped: int | None = None) -> float:
        """Factor on the learning rates at a step, counted from 0.

        stepped: how many of the steps this optimizer has done, where the weights are another's and it warms up later.
        """
        rise = min(1.0, ((step if stepped is None else stepped) + 1) / self.warm_up)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return rise * max(fall, 0.0)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of the run with one mix of sizes and data, until this share of the steps."""

    until: float
    batch: int
    sizes: tuple[tuple[int, int], ...]
    clips: ClipRecipe = field(default_factory=ClipRecipe)
    sections: SectionRecipe = field(default_factory=SectionRecipe)
    flow: FlowRecipe = field(default_factory=FlowRecipe)

    def __post_init__(self) -> None:
        """Raise ValueError for sizes the model cannot take."""
        check_sizes("phases", self.sizes)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model's training."""

    seed: int
    model: TransformerConfig
    towers: TowerConfig
    vae: VaeRecipe
    pool: PoolRecipe
    optimizer: OptimizerRecipe
    schedule: Schedule
    phases: tuple[Phase, ...]
    samples: SampleRecipe = field(default_factory=SampleRecipe)

    def phase(self, step: int) -> Phase:
        """The phase that holds at a step."""
        return next((phase for phase in self.phases if step < phase.until * self.schedule.steps), self.phases[-1])

    @classmethod
    def read(cls, path: Path) -> Self:
        """From TOML. Raises ValueError that names the entry that is unknown, missing or wrong."""
        table = _table(path)
        if missing := [name for name in ("seed", "model", "phases") if name not in table]:
            raise ValueError(f"the recipe {path} lacks {', '.join(missing)}")
        if not isinstance(table["phases"], list):
            raise ValueError(f"the recipe {path} has its phases in one table: write [[phases]], once for each of them")
        channels = table.get("vae", {}).get("latent_channels", VaeRecipe.latent_channels)
        model = {"in_channels": channels, "out_channels": channels, **table.pop("model")}
        base = {name: table.pop(name, {}) for name in PHASE_PARTS}
        for name, kind in PHASE_PARTS.items():
            _build(kind, base[name], name)  # a mistake is reported even where each phase has its own
        parts: dict[str, Any] = {
            "model": TransformerConfig.from_dict(model),
            "towers": _build(TowerConfig, table.pop("towers", {}), "towers"),
            "vae": _vae(table.pop("vae", {})),
            "pool": _build(PoolRecipe, table.pop("pool", {}), "pool"),
            "optimizer": _build(OptimizerRecipe, table.pop("optimizer", {}), "optimizer"),
            "schedule": _build(Schedule, table.pop("schedule", {}), "schedule"),
            "samples": _build(SampleRecipe, table.pop("samples", {}), "samples"),
            "phases": tuple(_phase(phase, base) for phase in table.pop("phases")),
        }
        if unknown := set(table) - {"seed"}:
            raise ValueError(f"the recipe {path} has unknown tables {sorted(unknown)}; known are {sorted(TABLES)}")
        if not parts["phases"] or not isinstance(table["seed"], int):
            raise ValueError(f"the recipe {path} needs a whole number as seed and at least one phase")
        return cls(**parts, **table)


def _vae(table: Mapping[str, Any]) -> VaeRecipe:
    clips = {"clips": _build(ClipRecipe, table["clips"], "vae.clips")} if "clips" in table else {}
    return _build(VaeRecipe, {**table, **clips}, "vae")


def _phase(table: Mapping[str, Any], base: Mapping[str, Mapping[str, Any]]) -> Phase:
    parts = {name: _build(kind, {**base[name], **table.get(name, {})}, name) for name, kind in PHASE_PARTS.items()}
    return _build(Phase, {**table, **parts}, "phases")


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_of_file(path, RECIPE_MOST))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"the recipe {path} is no TOML: {error}") from error


def _build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a TOML table: lists become tuples, number-like keys numbers."""
    known = {entry.name for entry in fields(kind)}  # pyright: ignore[reportArgumentType]
    if unknown := set(table) - known:
        raise ValueError(f"the recipe's [{where}] has unknown entries {sorted(unknown)}; known are {sorted(known)}")
    if missing := [entry.name for entry in fields(kind) if _needed(entry) and entry.name not in table]:  # pyright: ignore[reportArgumentType]
        raise ValueError(f"the recipe's [{where}] lacks {', '.join(missing)}")
    for entry in fields(kind):  # pyright: ignore[reportArgumentType]
        if entry.name in table:
            _check_scalar(where, entry, table[entry.name])
    return kind(**{key: _plain(value) for key, value in table.items()})


def _check_scalar(where: str, entry: Field[Any], value: object) -> None:
    """Raise ValueError for an entry that is to be a number, or true or false, and is none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {int: number and isinstance(value, int), float: number, bool: isinstance(value, bool)}
    said = {int: "a whole number", float: "a number", bool: "true or false"}
    if not fits.get(entry.type, True):  # pyright: ignore[reportArgumentType]
        raise ValueError(f"the recipe's [{where}] {entry.name} must be {said[entry.type]}, got {value!r}")  # pyright: ignore[reportArgumentType]


def _needed(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _plain(value: object) -> object:
    if isinstance(value, list):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, dict):
        return {int(key) if key.isdigit() else key: entry for key, entry in value.items()}
    return value
