"""A request and a machine -> how the job will be done and what it is foreseen to take. Nothing is loaded for it.

Boundary: gathers what `choices` and `planner` ask for from a request; one object for one model on one device, so that
costs and speeds are worked out once.
"""

from collections.abc import Mapping

import torch

from framepack.memory import Budget
from framepack.memory.budget import HIGH_VRAM
from framepack.memory.probe import available_ram, resident_ram, spare_ram
from framepack.memory.rehearsal import Speed
from framepack.pipeline.calibrate import calibrate
from framepack.pipeline.choices import Choices, Tiling
from framepack.pipeline.conditioning import prompts_of
from framepack.pipeline.costs import Costs, Size, prompt_tokens
from framepack.pipeline.planner import Job, Planner
from framepack.pipeline.skeleton import Skeleton
from framepack.sampling import needs_negative
from framepack.spec.events import Planned
from framepack.spec.plan import SectionPlan
from framepack.spec.request import GenerationRequest
from framepack.spec.shapes import frames_of

LIBRARIES = 80_000_000
"""RAM that libraries and the allocators of all threads take in a process's first job; measured with mini on Linux."""


class Foresight:
    """Of one model's jobs on one device."""

    def __init__(self, parts: Skeleton, device: torch.device, *, here: bool = True) -> None:
        """here: it is this machine's device that will do the work, so that its speed can be measured."""
        self.device, self.here = device, here
        self.costs = Costs(parts, on=device.type if here else "meta")
        self.base = resident_ram() + LIBRARIES
        """RAM of the process without any weights."""
        self._speeds: tuple[Speed, float | None] | None = None

    def speeds(self, *, streams: bool) -> tuple[Speed, float | None]:
        """Measured once, by a short trial; unknown for another machine's device. streams: weights may be copied."""
        if not self.here:
            return Speed(), None
        if self._speeds is None:
            self._speeds = calibrate(self.costs, self.device, streams=streams)
        return self._speeds

    @torch.inference_mode(False)  # what is made in inference mode could not be moved, nor its operations counted
    @torch.no_grad()
    def of(
        self,
        request: GenerationRequest,
        sections: tuple[SectionPlan, ...],
        picture: tuple[int, int],
        budget: Budget,
        *,
        tiling: Tiling = "never",
        high_vram: bool | None = None,
        mapped: frozenset[str] = frozenset(),
        held: int = 0,
    ) -> tuple[Choices, Planned]:
        """The plan of one job at `picture`, (height, width) in pixels.

        mapped: modules that stay in their files. held: weights on the device already. Raises TilingRefusedError and
        TooSmallError, see `choices`.
        """
        branches = 2 if needs_negative(request.cfg) else 1
        prompts = prompts_of(request, sections)
        size = Size(
            height=picture[0],
            width=picture[1],
            prompt=prompt_tokens([said.text for said in prompts]),
            steps=request.steps,
            section=max(sections, key=tokens_of),
            decoded=max(section.decode_latents for section in sections),
        )
        job = Job(
            size=size,
            texts=len(prompts),
            pictures=len(request.pictures),
            sections=len(sections),
            mixes=len({section.image for section in sections}),
            branches=branches,
            beside=self.costs.beside(size, branches, request.cache != "none"),
            clip=3 * 4 * picture[0] * picture[1] * frames_of(size.decoded),
        )
        high = is_roomy(budget) if high_vram is None else high_vram
        planner = Planner(self.costs, budget, high_vram=high, mapped=mapped, held=held, base=self.base)
        choices = planner.choose(size, tiling)
        return choices, planner.foretell(job, choices, *self.speeds(streams=not budget.in_ram))


def tokens_of(section: SectionPlan) -> float:
    """The section's tokens, in latents of full detail."""
    return len(section.latents) + sum(len(span.take) / span.scale**3 for span in section.context)


def is_roomy(budget: Budget) -> bool:
    """Whether the device holds all models at once."""
    return not budget.in_ram and budget.capacity() > HIGH_VRAM


def stay_in_files(budget: Budget, sizes: Mapping[str, int], *, changed: bool = False) -> frozenset[str]:
    """Which parts' weights are better read from their files than held in RAM: under a limit, or where it is too little.

    sizes: bytes of the parts ("text", "image", "vae", "transformer") that are yet to be loaded. The text encoders stay
    first: they are needed once a prompt, the transformer in each step. changed: LoRAs are added to the transformer's
    weights, which therefore cannot stay.
    """
    spare, needed = spare_ram(), sum(sizes.values())
    stay = set[str]()
    for part in ("text", "transformer"):
        if part in sizes and (budget.ram_limit is not None or needed > spare):
            stay.add(part)
            needed -= sizes[part]
    return frozenset(stay - {"transformer"} if changed else stay)


def check_lora_room(budget: Budget, weights: int) -> None:
    """Raise ValueError where a transformer of so many bytes, changed by LoRAs, needs more RAM than allowed or there."""
    limit = budget.ram_limit
    if limit is not None and weights > limit:
        raise ValueError(
            f"LoRAs are added to weights in RAM, which takes {weights / 1e9:.1f} GB, and the RAM limit is "
            f"{limit / 1e9:.1f} GB: raise it, or leave the LoRAs out"
        )
    room = available_ram() + resident_ram()  # what this process holds may be the same transformer, about to be let go
    if weights > room:
        raise ValueError(
            f"LoRAs are added to weights in RAM, which takes {weights / 1e9:.1f} GB, and {room / 1e9:.1f} GB are free: "
            "end other programs, or leave the LoRAs out"
        )
