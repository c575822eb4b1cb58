"""Which components' weights are better read from their files than held in RAM, and whether LoRAs fit into RAM."""

from collections.abc import Mapping

from framepack.memory import Budget
from framepack.memory.probe import available_ram, resident_ram, spare_ram
from framepack.models.family import ModelFamily


def stay_in_files(
    family: ModelFamily, budget: Budget, sizes: Mapping[str, int], *, changed: bool = False
) -> frozenset[str]:
    """The components that stay in their files: under a limit of RAM, or where it is too little.

    sizes: bytes of those that are yet to be loaded. changed: LoRAs are added to weights, which then cannot stay.
    """
    spare, needed = spare_ram(), sum(sizes.values())
    stay = set[str]()
    for part in family.components:
        if part.mappable and part.name in sizes and (budget.ram_limit is not None or needed > spare):
            needed -= sizes[part.name]
            if not (changed and part.loras):
                stay.add(part.name)
    return frozenset(stay)


def check_lora_room(budget: Budget, weights: int) -> None:
    """Raise ValueError where a transformer of so many bytes, changed by LoRAs, needs more RAM than allowed or there."""
    limit = budget.ram_limit
    if limit is not None and weights > limit:
        raise ValueError(
            f"LoRAs are added to weights in RAM, which takes {weights / 1e9:.1f} GB, and the RAM limit is "
            f"{limit / 1e9:.1f} GB: raise it, or leave the LoRAs out"
        )
    free = available_ram() + resident_ram()  # what this process holds may be the same transformer, about to be let go
    if weights > free:
        raise ValueError(
            f"LoRAs are added to weights in RAM, which takes {weights / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
            "end other programs, or leave the LoRAs out"
        )
