"""Does a stage's work with real tensors: leases its component, and does it again with less memory where it runs out."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from framepack.memory import FallbackLevel, MemoryManager
from framepack.pipeline.memory_plan import MemoryPlan
from framepack.pipeline.stages import Modes, Stage
from framepack.spec.events import Part

T = TypeVar("T")


class Runner:
    """Of one job."""

    def __init__(self, memory: MemoryManager, plan: MemoryPlan, stages: Mapping[str, Stage]) -> None:
        self.memory, self.plan, self.stages = memory, plan, stages
        self.device = memory.device
        self._tiles = plan.tiling != "never"
        self._advice = "" if self._tiles else "allow VAE tiles, which leave faint seams, with --vae-tiling allow"

    def run(self, stage: Part, work: Callable[[Any, Modes], T], *, phase: str = "", last: bool = False) -> T:
        """What `work` makes of the stage's component. It may be called again, with modes that take less memory.

        phase: what fallbacks are remembered for, where the stage has several. last: other components are next.
        Raises MemoryExhaustedError.
        """
        wanted = self.stages[stage]

        def with_level(level: FallbackLevel) -> T:
            workspace = self.plan.workspace(stage, level)
            with self.memory.lease(wanted.component, once=wanted.once, activations=workspace, last=last) as module:
                return work(module, self.plan.modes.under(level))

        advice = self._advice if "tiled" in wanted.supports else ""
        return self.memory.retry_with_less_memory(
            phase or stage, with_level, supported=wanted.supports, allow_tiles=self._tiles, advice=advice
        )
