"""What a job's sections and its finish cost beside its steps, foretold from its plan. Loads no torch.

A section's clip is decoded in tiles of time, of which some come again from the clip before (`models.vae_tiles`): the
first clip has few, the one that holds the start image has them all anew. Formats that cannot be joined by copying are
encoded once more at the end.
"""

from collections.abc import Sequence

from framepack.pipeline.output_file import kept_as
from framepack.spec.finish import Finish
from framepack.spec.geometry import TimeTiles
from framepack.spec.plan import Cut, new_tiles
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

ENCODING = {
    "h264": (0.001, 0.08e-6),
    "h265": (0.005, 0.36e-6),
    "av1": (0.005, 0.11e-6),
    "vp9": (0.001, 0.11e-6),
    "ffv1": (0.001, 0.06e-6),
    "ffv1-16": (0.001, 0.31e-6),
    "prores": (0.001, 0.16e-6),
    "prores4444": (0.001, 0.24e-6),
    "gif": (0.010, 0.75e-6),
    "webp": (0.001, 0.14e-6),
    "apng": (0.001, 0.21e-6),
    "png": (0.001, 0.32e-6),
    "tiff": (0.001, 0.21e-6),
    "exr": (0.001, 0.48e-6),
}
"""Seconds a frame, and a pixel, of the encoding at the end: one core of a cloud machine, 128 to 768 pixels square
(`benchmarks/encoding.py`, 2026-12-01)."""
BETWEEN = {"repeat": 0.0, "blend": 0.02e-6, "motion": 0.24e-6}
"""Seconds a pixel of each frame at another rate, measured in the same way."""

STEPS: dict[str, float] = {
    "deflicker": 0.008e-6,
    "denoise": 0.008e-6,
    "sharpen": 0.031e-6,
    "exposure": 0.008e-6,
    "contrast": 0.008e-6,
    "warmth": 0.008e-6,
    "saturation": 0.006e-6,
    "lut": 0.008e-6,
    "grain": 0.007e-6,
    "enlarge": 0.013e-6,
}
"""Seconds a pixel of the result of each step on the final frames, in the same way (`benchmarks/encoding.py steps`,
2026-12-01). What a network takes is counted by the plan (`pipeline.stages.upscale`)."""
LEVELS = ("exposure", "contrast", "warmth")
"""Steps that are one filter."""


def decoded_latents(sections: Sequence[Cut], tiles: TimeTiles) -> list[int]:
    """For each section how many latents go through the VAE once it is sampled, tile after tile, each overlap anew."""
    return [sum(map(len, new)) for new in new_tiles(sections, tiles)]


def finishing_seconds(request: GenerationRequest, sections: Sequence[Cut]) -> float:
    """About how long the file takes at the end; next to nothing where what exists is copied."""
    if kept_as(request).copies:
        return 0.0
    frame, pixel = ENCODING[request.output.codec_name]
    pixel += steps_seconds(request.finish)
    side = request.resolution or VARIANTS[request.model].bucket_base
    area = request.width * request.height if request.width and request.height else side**2
    area *= request.finish.enlarge**2
    frames = sum(section.frames for section in sections)
    pixel += BETWEEN[request.output.fps_mode]
    return frames * request.output.fps / float(request.output.played(request.geometry.fps)) * (frame + pixel * area)


def steps_seconds(finish: Finish) -> float:
    """Seconds that a pixel of the result takes for its steps."""
    plain = type(finish)()
    done = [name for name in STEPS if getattr(finish, name) != getattr(plain, name)]
    levels = [name for name in done if name in LEVELS]
    return sum(STEPS[name] for name in done if name not in levels[1:])
