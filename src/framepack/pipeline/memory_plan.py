"""How a job's work is done in the memory there is: tokens at a time, and the VAE whole, chunked or in tiles.

From what is exact the fastest that fits is taken; tiles, which leave faint seams, only where they are allowed.
Boundary: arithmetic on what stages cost; moves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from framepack.memory import FallbackLevel
from framepack.memory.estimate import Cost
from framepack.memory.placement import Resident, Streamed, place
from framepack.memory.weight_blocks import Split
from framepack.pipeline.stages import Modes
from framepack.spec.events import Part, VaeMode
from framepack.spec.machine import Tiling

CHUNK_SIZES = (4096, 1024)
"""Tokens at a time where activations are short of room."""
LIBRARIES = 250_000_000
"""What kernels' workspaces and the allocator's rounding take on a real device, beside a tenth of the activations."""
ACCELERATORS = ("cuda", "mps", "meta")
"""Kinds of device with memory of their own; meta stands for one that is only planned for."""
WHOLE = Modes()
PLANNED = FallbackLevel(name="as planned")


class TilingRefusedError(ValueError):
    """The VAE fits only in tiles, which change the picture, and nobody allowed them."""


class TooSmallError(ValueError):
    """The device is too small for a job of this size, whatever is done to save memory."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a job's stages compute, and what each then needs. cost: of a stage, by its name and the modes."""

    cost: Callable[[Part, Modes], Cost]
    parts: frozenset[Part] = frozenset()
    """The stages that only some jobs have, of which this is one."""
    device: str
    """Its kind: cpu, or one of ACCELERATORS."""
    size: str
    """Of the video, for messages."""
    tiling: Tiling = "never"
    modes: Modes = WHOLE

    def workspace(self, stage: Part, level: FallbackLevel = PLANNED) -> int:
        """Bytes that weights must leave free for a stage: what it makes, and what libraries add."""
        return with_libraries(self.cost(stage, self.modes.under(level)).activations, self.device)

    def having(self, **modes: Any) -> "MemoryPlan":
        """The same with other modes."""
        return replace(self, modes=replace(self.modes, **modes))


def with_libraries(activations: int, device: str) -> int:
    """Activations, and on a real accelerator what is needed around them."""
    return activations + activations // 10 + LIBRARIES if device in ACCELERATORS else activations


def check_tiling(tiling: str) -> None:
    """Raise ValueError for what is no Tiling."""
    if tiling not in get_args(Tiling):
        raise ValueError(f"vae-tiling must be one of {', '.join(get_args(Tiling))}, got {tiling!r}")


def choose(first: MemoryPlan, weight_blocks: Split, vae: int, free: int) -> MemoryPlan:
    """The fastest modes in `free` bytes. units: the transformer's; vae: bytes of its weights.

    Raises TilingRefusedError where only tiles would fit and they are not allowed; TooSmallError on an accelerator that
    nothing would fit.
    """
    check_tiling(first.tiling)
    plan = first.having(chunk_size=_chunk_size(first, weight_blocks, free))
    encode = _vae_mode(plan, "encode", ("whole",), vae, free)
    if "source" in first.parts and encode == "whole":
        encode = _vae_mode(plan, "encode", ("whole",), vae, free, part="source")
    return plan.having(
        encode=encode, decode=_vae_mode(plan, "decode", _exact(plan, weight_blocks, vae, free), vae, free)
    )


def _chunk_size(plan: MemoryPlan, weight_blocks: Split, free: int) -> int | None:
    """All tokens at once, unless fewer at a time leave the blocks so much room that a tenth less is streamed."""
    best, least = None, None
    for size in (None, *CHUNK_SIZES):
        need, placement = _sampling(plan.having(chunk_size=size), weight_blocks, free)
        fits = need + 2 * max((weight_block.nbytes for weight_block in weight_blocks.blocks), default=0) <= free
        score = (not fits, placement.streamed_bytes)
        if least is None or score < (least[0], 0.9 * least[1]):
            best, least = size, score
        if score == (False, 0):
            break
    return best


def _sampling(plan: MemoryPlan, weight_blocks: Split, free: int) -> tuple[int, Resident | Streamed]:
    """Bytes that a step takes beside its blocks, and where these are."""
    need = plan.workspace("sample") + weight_blocks.rest.nbytes
    return need, place([weight_block.nbytes for weight_block in weight_blocks.blocks], free - need)


def _exact(plan: MemoryPlan, weight_blocks: Split, vae: int, free: int) -> tuple[VaeMode, ...]:
    """Whole is a little faster, unless it drives blocks off the device that come back for each section."""
    kept = _sampling(plan, weight_blocks, free)[1].device_bytes + weight_blocks.rest.nbytes

    def brought_again(mode: VaeMode) -> int:
        return min(kept, max(0, kept + vae + plan.having(decode=mode).workspace("decode") - free))

    spared = brought_again("whole") - brought_again("chunked") if plan.device in ACCELERATORS else 0
    return ("chunked",) if spared > kept // 10 else ("whole", "chunked")


def _vae_mode(
    plan: MemoryPlan,
    stage: Literal["encode", "decode"],
    exact: Sequence[VaeMode],
    vae: int,
    free: int,
    part: Part | None = None,
) -> VaeMode:
    """The first mode that fits; else tiles, if allowed; else the least exact one, where RAM is the device."""
    if plan.tiling == "always":
        return "tiled"
    needs: dict[VaeMode, int] = {}
    for mode in exact:
        needs[mode] = vae + plan.having(**{stage: mode}).workspace(part or stage)
        if needs[mode] <= free:
            return mode
    least = min(needs, key=lambda mode: needs[mode])
    tiled = vae + plan.having(**{stage: "tiled"}).workspace(part or stage)
    if tiled <= free:
        if plan.tiling == "allow":
            return "tiled"
        raise TilingRefusedError(
            f"not enough memory: to {stage} {plan.size} exactly takes {_gb(needs[least])} on the device, and "
            f"{_gb(free)} may be used. Allow tiles, which leave faint seams ({_gb(tiled)}), with --vae-tiling allow, "
            "or choose a smaller size"
        )
    if plan.device in ACCELERATORS:
        raise TooSmallError(
            f"not enough memory: to {stage} {plan.size} takes {_gb(tiled)} on the device even in tiles, and "
            f"{_gb(free)} may be used. Choose a smaller size, or close other programs that use the device"
        )
    return "tiled" if plan.tiling == "allow" else least


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
