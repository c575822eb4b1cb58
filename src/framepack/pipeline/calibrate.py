"""How fast this machine is, by a short trial: one block of the model, a convolution, copies. Half a second at most.

Boundary: measures; a rate that cannot be measured is None. The numbers are for estimates, not for claims.
"""

import time
from collections.abc import Callable

import torch

from framepack.memory.copy_streams import copy_stream_for
from framepack.memory.estimate import Speed, estimate
from framepack.memory.fallbacks import is_out_of_memory
from framepack.weights.meta import MetaModels

ENOUGH = 0.05
"""Seconds of trial that make a rate."""
TOKENS = {"cpu": 512}
MANY_TOKENS = 4096
"""Of a trial on an accelerator, so that it is busy; the trial's weights and tokens take 0.4 GB at 13 B."""
SIDES = (16, 8, 4)
"""Latents down and across of the VAE's trial: the first that is short enough."""
COPIED = 64 << 20
SHORT = {"cpu": 20e9, "gpu": 2e12}
"""Most multiplications and additions of the VAE's trial."""


@torch.no_grad()
def block_rate(models: MetaModels, device: torch.device) -> float:
    """Multiplications and additions a second in one of the transformer's blocks."""
    transformer, tokens = models["transformer"], TOKENS.get(device.type, MANY_TOKENS)
    return estimate(transformer.trial(tokens, "meta")).flops / seconds(transformer.trial(tokens, device), device)


@torch.no_grad()
def conv_rate(models: MetaModels, device: torch.device) -> float:
    """Multiplications and additions a second in the VAE's decoder, on as large a picture as is decoded in a moment."""
    vae, most = models["vae"], SHORT["cpu" if device.type == "cpu" else "gpu"]
    for side in SIDES:
        flops = estimate(vae.trial(side, "meta")).flops
        if flops <= most:
            break
    return flops / seconds(vae.trial(side, device), device)


def copy_rate(device: torch.device) -> float:
    """Bytes a second from pinned memory to the device."""
    copy_stream = copy_stream_for(device)
    host, target = copy_stream.host(COPIED), copy_stream.buffer(COPIED)
    try:
        return COPIED / seconds(lambda: copy_stream.wait(copy_stream.copy(target, host, copy_stream.record())), device)
    finally:
        copy_stream.free_host(host)


def calibrate(models: MetaModels, device: torch.device, *, streams: bool) -> Speed:
    """The machine's speed. streams: weights are copied to the device.

    A trial that runs out of memory measures nothing.
    """

    def rate(trial: Callable[[], float]) -> float | None:
        try:
            return trial()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    return Speed(
        flops=rate(lambda: block_rate(models, device)),
        conv=rate(lambda: conv_rate(models, device)),
        copied=rate(lambda: copy_rate(device)) if streams else None,
    )


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call, the best of a few, after one to warm up."""

    def timed() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - began

    timed()
    taken = [timed()]
    while sum(taken) < ENOUGH:
        taken.append(timed())
    return min(taken)
