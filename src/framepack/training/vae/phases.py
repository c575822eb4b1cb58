"""Teaches the mini VAE's decoder which of a latent's pixels it is making. Used while training only, thrown away after.

`AutoencoderKLHunyuanVideo` enlarges by repeating values, and its convolutions treat all copies alike, so nothing tells
the left copy from the right one but that it differs from its left neighbour and equals its right one. A decoder that
is trained on pixels alone never finds this out; asked for it, it does within some hundred steps, and then uses it.
Boundary: reads the decoder's states by hooks, changes nothing of it but through its gradients.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_hunyuan_video import AutoencoderKLHunyuanVideo
from torch import Tensor, nn
from torch.nn import functional

TIME = 3.0
"""How much more a wrong answer about time weighs: neighbouring frames differ less than neighbouring pixels."""


class PhaseTeacher(nn.Module):
    """Asks the first residual block behind each upsampler for the phase of every pixel, and of every frame."""

    def __init__(self, vae: AutoencoderKLHunyuanVideo) -> None:
        super().__init__()
        config: Any = vae.config
        widths = list(reversed(config.block_out_channels))[1:]
        twice_in_time = [_doubles_time(block) for block in _blocks(vae)[:-1]]
        self.questions = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, width), nn.Conv3d(width, 4 if doubles else 3, 1))
            for width, doubles in zip(widths, twice_in_time, strict=True)
        )

    @contextmanager
    def listening(self, vae: AutoencoderKLHunyuanVideo) -> Iterator[list[Tensor]]:
        """Within, decoding fills the list that is given with the states the questions are about."""
        heard: list[Tensor] = []
        hooks = [
            block.resnets[0].register_forward_hook(lambda _module, _given, made: heard.append(made))
            for block in _blocks(vae)[1:]
        ]
        try:
            yield heard
        finally:
            for hook in hooks:
                hook.remove()

    def forward(self, heard: list[Tensor]) -> tuple[Tensor, float]:
        """The logistic error of the answers, summed over all questions, and the share of the answers that is right.

        A question that is guessed costs ln 2, one for time TIME times as much. A picture is not asked for time.
        """
        errors, right = [], []
        for question, state in zip(self.questions, heard, strict=True):
            answers = question(state.float())
            wanted = phases(*state.shape[2:])[: answers.shape[1]].to(state.device)
            for weight, part in ((1.0, slice(3)), (TIME, slice(3, 4))):
                asked = wanted[part].abs().expand_as(answers[:, part])
                if asked.any():
                    error = functional.softplus(-answers[:, part] * wanted[part]) * asked
                    errors.append(weight * error.sum() / asked.sum())
                    right.append(((answers[:, part].detach() * wanted[part] > 0) * asked).sum() / asked.sum())
        return torch.stack(errors).sum(), float(torch.stack(right).mean())


def phases(frames: int, height: int, width: int) -> Tensor:
    """(4, T, H, W): +1 for the first copy of a pair and -1 for the second, of rows, columns, both, and frames.

    The first frame is no copy, its phase in time is 0.
    """
    rows, columns = _signs(height)[:, None], _signs(width)[None]
    space = torch.stack([rows.expand(height, width), columns.expand(height, width), rows * columns])
    time = torch.cat([torch.zeros(1), _signs(frames - 1)])
    return torch.cat(
        [space[:, None].expand(3, frames, height, width), time[None, :, None, None].expand(1, frames, height, width)]
    )


def _signs(count: int) -> Tensor:
    return 1.0 - 2.0 * (torch.arange(count) % 2)


def _blocks(vae: AutoencoderKLHunyuanVideo) -> list[Any]:
    decoder: Any = vae.decoder
    return list(decoder.up_blocks)


def _doubles_time(block: Any) -> bool:
    return block.upsamplers[0].upsample_factor[0] == 2
