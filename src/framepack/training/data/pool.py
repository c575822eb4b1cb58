"""The pool of procedural images that clips are made of: drawn by worker processes, seeded, renewed as a run goes.

The pool at a step depends on the seed and the step alone, so a resumed run sees the images it would have seen.
"""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from framepack.training.data.images import draw_image

PARTS = 8


@dataclass(frozen=True, kw_only=True)
class PoolRecipe:
    """How many images, how large, how often renewed."""

    images: int = 3000
    size: int = 192
    """side of each square image, pixels"""
    renew_steps: int = 0
    """every so many steps an eighth of the pool is drawn anew; 0 keeps the first pool"""

    def __post_init__(self) -> None:
        """Raise ValueError for a pool that cannot be drawn."""
        if self.images < PARTS or self.size < 16 or self.renew_steps < 0:
            raise ValueError(
                f"a pool needs {PARTS} images or more, 16 pixels or more and renew_steps >= 0, "
                f"got {self.images}, {self.size} and {self.renew_steps}"
            )


class ImagePool:
    """`pool.at(step)` is the images (N, S, S, 3) uint8 of that step. A context manager: it may own processes."""

    def __init__(self, recipe: PoolRecipe, seed: int, workers: int) -> None:
        self.recipe, self.seed = recipe, seed
        # Ctrl-C reaches the whole group; the workers end with their parent, not each with a traceback of its own
        quiet = (signal.SIGINT, signal.SIG_IGN)
        self.executor = ProcessPoolExecutor(workers, initializer=signal.signal, initargs=quiet) if workers > 1 else None
        self.parts: dict[int, Callable[[], np.ndarray]] = {}
        self.age = -1
        self.images = np.empty((0, recipe.size, recipe.size, 3), np.uint8)

    def __enter__(self) -> "ImagePool":
        return self

    def __exit__(self, *_: object) -> None:
        if self.executor:
            self.executor.shutdown(cancel_futures=True)

    def at(self, step: int) -> np.ndarray:
        """The pool at a step, drawing what is not there yet; the next part is begun meanwhile."""
        age = step // self.recipe.renew_steps if self.recipe.renew_steps else 0
        if age != self.age:
            wanted = range(age, age + PARTS)
            self.parts = {part: self.parts.get(part) or self._begin(part) for part in wanted}
            self.images = np.concatenate([self.parts[part]() for part in sorted(wanted, key=lambda part: part % PARTS)])
            self.age = age
            if self.recipe.renew_steps and self.executor:
                self.parts[age + PARTS] = self._begin(age + PARTS)
        return self.images

    def _begin(self, part: int) -> Callable[[], np.ndarray]:
        """Start drawing one part; the result waits for it."""
        count = self.recipe.images // PARTS + (part % PARTS < self.recipe.images % PARTS)
        seeds = [(self.seed, part, number) for number in range(count)]
        if self.executor is None:
            return _kept(draw_images(seeds, self.recipe.size))
        return _gathered(self.executor, seeds, self.recipe.size)


def draw_images(seeds: Sequence[tuple[int, ...]], size: int) -> np.ndarray:
    """One image a seed, (N, size, size, 3) uint8."""
    return np.stack([draw_image(np.random.default_rng(seed), size) for seed in seeds])


def _kept(images: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: images


def _gathered(executor: Executor, seeds: Sequence[tuple[int, ...]], size: int) -> Callable[[], np.ndarray]:
    futures: list[Future[np.ndarray]] = [
        executor.submit(draw_images, seeds[begin : begin + 16], size) for begin in range(0, len(seeds), 16)
    ]
    return lambda: np.concatenate([future.result() for future in futures])
