"""What a job's sections and its finish cost beside its steps, foretold from its plan. Loads no torch.

A section's clip is decoded in tiles of time, of which some come again from the clip before (`models.vae_tiles`): the
first clip has few, the one that holds the start image has them all anew. Formats that cannot be joined by copying are
encoded once more at the end.
"""

from collections.abc import Sequence

from framepack.media.video import FORMATS
from framepack.spec.plan import Cut
from framepack.spec.request import GenerationRequest
from framepack.spec.shapes import FPS, frames_of
from framepack.spec.variants import VARIANTS

TILE, STRIDE = 5, 3
"""Latents of a tile of time, and from one tile to the next; the same in all models."""
ENCODING = {"gif": (0.010, 0.75e-6), "webp": (0.001, 0.14e-6), "png": (0.001, 0.32e-6)}
"""Seconds a frame, and a pixel, of the encoding at the end: one core of a cloud machine, 128 to 768 pixels square."""


def decoded_latents(sections: Sequence[Cut]) -> list[int]:
    """For each section how many latents go through the VAE once it is sampled, tile after tile, each overlap anew."""
    counts, known = [], set[range]()
    for section in sections:
        count, again = section.decode_latents, len(section.latents) if section.unsettled else 0
        if section.grows == "backward":
            first, repeats = section.latents.start - len(section.after), range(again)
        else:
            first, repeats = section.latents.stop - count, range(count - again, count)
        tiles = [range(start, min(start + TILE, count)) for start in range(0, count, STRIDE)]
        tiles = [tile for tile in tiles if len(tile) > 1 or not tile.start]
        there = {tile: range(first + tile.start, first + tile.stop) for tile in tiles}
        counts.append(sum(len(tile) for tile in tiles if there[tile] not in known))
        known = {there[tile] for tile in tiles if tile.start >= repeats.start and tile.stop <= repeats.stop}
    return counts


def finishing_seconds(request: GenerationRequest, sections: Sequence[Cut]) -> float:
    """About how long the file takes at the end; next to nothing where what exists is copied."""
    form = request.output.format
    if FORMATS[form].segments == form:
        return 0.0
    frame, pixel = ENCODING[form]
    side = request.resolution or VARIANTS[request.model].bucket_base
    area = request.width * request.height if request.width and request.height else side**2
    latents = 1 + sum(len(section.latents) for section in sections)
    return frames_of(latents) * float(request.output.fps) / FPS * (frame + pixel * area)
