"""How fast this machine is, by a short trial: one block of the model, a convolution, copies. Half a second at most.

Boundary: measures; a rate that cannot be measured is None. The numbers are for forecasts, not for claims.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from framepack.memory.ladder import is_out_of_memory
from framepack.memory.lanes import lane_for
from framepack.memory.rehearsal import Speed, measure
from framepack.models.blocks import Execution, Joint, SingleBlock
from framepack.pipeline.costs import Costs

ENOUGH = 0.05
"""Seconds of trial that make a rate."""
TOKENS = {"cpu": 512}
MANY_TOKENS = 4096
"""Of a trial on an accelerator, so that it is busy; the trial's weights and tokens take 0.4 GB at 13 B."""
COPIED = 64 << 20
SHORT = {"cpu": 20e9, "gpu": 2e12}
"""Most multiplications and additions of the decoder's trial."""


@torch.no_grad()
def block_rate(costs: Costs, device: torch.device) -> float:
    """Multiplications and additions a second in one of the transformer's blocks."""
    config = replace(costs.parts.transformer.config, num_layers=0, num_single_layers=1)
    dtype, tokens = costs.parts.dtypes.transformer, TOKENS.get(device.type, MANY_TOKENS)

    def trial(where: torch.device, execution: Execution) -> Callable[[], Tensor]:
        with torch.device(where):
            block = SingleBlock(config)
            block.norm = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  # its work is not a step's
            block = block.to(dtype)
            x = torch.randn(1, tokens, config.width, dtype=dtype)
            modulation = torch.randn(1, 3, config.width, dtype=dtype)
            rope = torch.ones(1, tokens, 1, config.attention_head_dim // 2, dtype=torch.complex64)
        joint = Joint(rope=rope, key_rope=rope, video=tokens, bias=None, execution=execution)
        return lambda: block(x, modulation, joint)

    flops = measure(trial(torch.device("meta"), Execution())).flops
    return flops / seconds(trial(device, Execution()), device)


@torch.no_grad()
def conv_rate(costs: Costs, device: torch.device) -> float:
    """Multiplications and additions a second in the VAE's decoder, on as large a picture as is decoded in a moment."""
    vae, dtype = costs.parts.vae, costs.parts.dtypes.vae
    most = SHORT["cpu" if device.type == "cpu" else "gpu"]
    empty = vae.autoencoder.decoder
    for side in (16, 8, 4):
        z = torch.empty(1, vae.latent_channels, 2, side, side, dtype=dtype, device="meta")
        flops = measure(lambda z=z: empty(z)).flops
        if flops <= most:
            break
    decoder = copy.deepcopy(empty).to_empty(device=device)
    for parameter in decoder.parameters():
        parameter.normal_(std=0.02)
    latents = torch.randn(z.shape, device=device).to(dtype)
    return flops / seconds(lambda: decoder(latents), device)


def copy_rate(device: torch.device) -> float:
    """Bytes a second from pinned memory to the device."""
    lane = lane_for(device)
    host, target = lane.host(COPIED), lane.buffer(COPIED)
    try:
        return COPIED / seconds(lambda: lane.wait(lane.copy(target, host, lane.mark())), device)
    finally:
        lane.free_host(host)


def calibrate(costs: Costs, device: torch.device, *, streams: bool) -> tuple[Speed, float | None]:
    """The machine's speed, and that of its convolutions. streams: weights are copied to the device.

    A trial that the memory does not suffice for tells nothing.
    """

    def rate(trial: Callable[[], float]) -> float | None:
        try:
            return trial()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    copied = rate(lambda: copy_rate(device)) if streams else None
    return Speed(flops=rate(lambda: block_rate(costs, device)), copied=copied), rate(lambda: conv_rate(costs, device))


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
