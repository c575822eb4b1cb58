"""From noise to latents: noise levels, solvers, guidance. Sees a Denoiser, never a model."""

from __future__ import annotations

from functools import partial

from framepack.sampling.dpmpp_2m import dpmpp_2m
from framepack.sampling.euler import euler
from framepack.sampling.guidance import GUIDES, guide, needs_negative, x0_of, zero_steps
from framepack.sampling.sampler import Denoiser, Sampler, SampleStep
from framepack.sampling.schedule import make_sigmas, mu_of
from framepack.sampling.unipc import unipc

SAMPLERS: dict[str, Sampler] = {
    "unipc": unipc,
    "unipc-bh2": partial(unipc, variant="bh2"),
    "dpm++2m": dpmpp_2m,
    "euler": euler,
}
"""What `--sampler` may name. "unipc" (bh1) is the public application's."""

__all__ = [
    "GUIDES",
    "SAMPLERS",
    "Denoiser",
    "SampleStep",
    "Sampler",
    "dpmpp_2m",
    "euler",
    "guide",
    "make_sigmas",
    "mu_of",
    "needs_negative",
    "unipc",
    "x0_of",
    "zero_steps",
]
