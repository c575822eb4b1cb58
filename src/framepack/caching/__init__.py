"""Which steps may skip the transformer's blocks. A cache serves one section and one branch, as an argument."""

from __future__ import annotations

from typing import Protocol

from framepack.caching.first_block import FirstBlockCache
from framepack.caching.teacache import TeaCache
from framepack.models.cache_protocol import BlockCache


class CacheFactory(Protocol):
    """Makes the cache of one section and one branch; None means that every step runs in full."""

    def __call__(self, steps: int, threshold: float) -> BlockCache | None: ...


def no_cache(steps: int, threshold: float) -> None:
    """Every step runs in full, whatever the threshold."""


CACHES: dict[str, CacheFactory] = {"none": no_cache, "teacache": TeaCache, "first-block": FirstBlockCache}
"""What `--cache` may name."""

__all__ = ["CACHES", "CacheFactory", "FirstBlockCache", "TeaCache"]
