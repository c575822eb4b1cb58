"""An auxiliary loss for the mini VAE's decoder: which sub-pixel of a latent it is making. Only used while training.

`AutoencoderKLHunyuanVideo` upsamples by repeating values, and its convolutions treat all copies alike, so nothing tells
the left copy from the right one except that it differs from its left neighbour and equals its right one. A decoder that
is trained on pixels alone never finds this out. With this loss it does within some hundred steps, and then uses it.
Boundary: reads the decoder's states by hooks; changes it through gradients only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor, nn
from torch.nn import functional

TIME_WEIGHT = 3.0
"""Of errors about time: neighbouring frames differ less than neighbouring pixels."""


class PhaseHeads(nn.Module):
    """Linear probes of the first residual block behind each upsampler: the phase of every pixel, and of every frame."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo) -> None:
        super().__init__()
        config: Any = vae.config
        widths = list(reversed(config.block_out_channels))[1:]
        in_time = [block.upsamplers[0].upsample_factor[0] == 2 for block in _blocks(vae)[:-1]]
        self.questions = nn.ModuleList(  # the name in checkpoints
            nn.Sequential(nn.GroupNorm(1, width), nn.Conv3d(width, 4 if doubled else 3, 1))
            for width, doubled in zip(widths, in_time, strict=True)
        )

    @contextmanager
    def recording(self, vae: AutoencoderKLHunyuanVideo) -> Iterator[list[Tensor]]:
        """Inside this context, decoding adds the states that `forward` needs to the yielded list."""
        states: list[Tensor] = []
        hooks = [
            block.resnets[0].register_forward_hook(lambda _module, _inputs, output: states.append(output))
            for block in _blocks(vae)[1:]
        ]
        try:
            yield states
        finally:
            for hook in hooks:
                hook.remove()

    def forward(self, states: list[Tensor]) -> tuple[Tensor, float]:
        """The logistic loss, summed over all predictions, and the share of them that is right.

        A guess costs ln 2, one about time TIME_WEIGHT times as much. A single frame has no phase in time.
        """
        losses, correct = [], []
        for head, state in zip(self.questions, states, strict=True):
            logits = head(state.float())
            targets = phase_targets(*state.shape[2:])[: logits.shape[1]].to(state.device)
            for weight, part in ((1.0, slice(3)), (TIME_WEIGHT, slice(3, 4))):
                defined = targets[part].abs().expand_as(logits[:, part])
                if defined.any():
                    loss = functional.softplus(-logits[:, part] * targets[part]) * defined
                    losses.append(weight * loss.sum() / defined.sum())
                    correct.append(((logits[:, part].detach() * targets[part] > 0) * defined).sum() / defined.sum())
        return torch.stack(losses).sum(), float(torch.stack(correct).mean())


def phase_targets(frames: int, height: int, width: int) -> Tensor:
    """(4, T, H, W): +1 for the first copy of a pair and -1 for the second, of rows, columns, both, and frames.

    The first frame is no copy, its phase in time is 0.
    """
    rows, columns = _signs(height)[:, None], _signs(width)[None]
    time = torch.cat([torch.zeros(1), _signs(frames - 1)])[:, None, None]
    return torch.stack([part.expand(frames, height, width) for part in (rows, columns, rows * columns, time)])


def _signs(count: int) -> Tensor:
    return 1.0 - 2.0 * (torch.arange(count) % 2)


def _blocks(vae: AutoencoderKLHunyuanVideo) -> list[Any]:
    decoder: Any = vae.decoder
    return list(decoder.up_blocks)
