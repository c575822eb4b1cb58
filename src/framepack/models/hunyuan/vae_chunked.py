"""Decodes a tile of video a few rows of pixels at a time: the plain decoder's sum in a quarter of its memory.

The decoder's norms span the whole picture, so a spatial tile decoded alone differs from the picture. Here each norm's
statistics are gathered over all rows first, then rows are normed, convolved (with the rows beside them) and written.
The result differs from the plain decoder's only by the order in which the statistics are summed: by rounding. The
largest intermediate, upsampled and not yet convolved to fewer channels, is made twice and never held.

Boundary: walks the modules of diffusers' HunyuanVideo decoder and reads no config. Shapes: B batch, C channels,
T frames, H x W pixels.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STRIP = 32 << 20
"""Bytes of an intermediate that are made at a time."""


@dataclass(frozen=True)
class Rows:
    """An intermediate (B, C, T, H, W) that is made on demand, rows `first` to `last` of its H."""

    shape: tuple[int, ...]
    make: Callable[[int, int], Tensor]
    source: int = 0
    """Numbers in a row of the widest intermediate on the way to this one."""
    whole: Tensor | None = None
    """The intermediate itself, where it is held."""
    meta: bool = False
    """Only counted, on the meta device."""

    @property
    def row(self) -> int:
        """Numbers in a row, of this or of what it is made from."""
        return max(math.prod(self.shape) // self.shape[3], self.source)

    def strips(self, itemsize: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows that take about STRIP bytes each."""
        height = self.shape[3]
        step = max(8, STRIP // (self.row * itemsize))
        strips = [(first, min(first + step, height)) for first in range(0, height, step)]
        return iter(strips[:1] if self.meta else strips)  # strips are alike


def held(x: Tensor) -> Rows:
    return Rows(tuple(x.shape), lambda first, last: x[:, :, :, first:last], whole=x, meta=x.is_meta)


def decode_chunked(decoder: Any, z: Tensor) -> Tensor:
    """What `decoder(z)` is, but for rounding: latents (B, C, t, h, w) to (B, 3, 1 + 4 (t - 1), 8 h, 8 w)."""
    rows = held(decoder.mid_block(decoder.conv_in(z)))
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            rows = held(resnet_in_rows(resnet, rows))
        for upsampler in block.upsamplers or ():
            rows = convolved(upsampled(rows, upsampler.upsample_factor), upsampler.conv)
    return gathered(convolved(activated(rows, norm_of(rows, decoder.conv_norm_out)), decoder.conv_out), z)


def resnet_in_rows(resnet: Any, x: Rows) -> Tensor:
    """`resnet(x)`. Where it keeps the number of channels, the memory of `x` becomes the result's."""
    if resnet.conv_shortcut is None:
        out = gathered(x, resnet.norm1.weight) if x.whole is None else x.whole
        x = held(out)
        hidden = gathered(convolved(activated(x, norm_of(x, resnet.norm1)), resnet.conv1), out)
    else:
        hidden, out = conv_and_shortcut(resnet, x)
    rows = held(hidden)
    update = convolved(activated(rows, norm_of(rows, resnet.norm2)), resnet.conv2)
    for first, last in update.strips(out.element_size()):
        out[:, :, :, first:last] += update.make(first, last)
    return out


def conv_and_shortcut(resnet: Any, x: Rows) -> tuple[Tensor, Tensor]:
    """conv1 of the normed input, and the shortcut of the input, from rows of it that are made once."""
    weight, norm, size = resnet.conv1.conv.weight, norm_of(x, resnet.norm1), x.shape[3]
    shape = (x.shape[0], weight.shape[0], *x.shape[2:])
    hidden, out = (torch.empty(shape, dtype=weight.dtype, device=weight.device) for _ in range(2))
    for first, last in x.strips(weight.element_size()):
        low = max(first - 1, 0)
        part = x.make(low, min(last + 1, size))
        window = Rows(x.shape, lambda a, b, part=part, low=low: part[:, :, :, a - low : b - low], meta=x.meta)
        hidden[:, :, :, first:last] = convolved(activated(window, norm), resnet.conv1).make(first, last)
        out[:, :, :, first:last] = convolved(window, resnet.conv_shortcut).make(first, last)
    return hidden, out


def gathered(x: Rows, like: Tensor) -> Tensor:
    """The whole intermediate, of the dtype and on the device of `like`."""
    whole = torch.empty(x.shape, dtype=like.dtype, device=like.device)
    for first, last in x.strips(like.element_size()):
        whole[:, :, :, first:last] = x.make(first, last)
    return whole


def convolved(x: Rows, causal: Any) -> Rows:
    """A causal convolution of stride 1, with its edges repeated: past the picture's only, not past the rows'."""
    conv, height = causal.conv, x.shape[3]
    time, reach, side = conv.kernel_size[0] - 1, conv.kernel_size[1] // 2, conv.kernel_size[2] // 2

    def make(first: int, last: int) -> Tensor:
        low, high = max(first - reach, 0), min(last + reach, height)
        above, below = low - (first - reach), last + reach - high
        return conv(F.pad(x.make(low, high), (side, side, above, below, time, 0), mode="replicate"))

    return Rows((x.shape[0], conv.out_channels, *x.shape[2:]), make, x.row, meta=x.meta)


def upsampled(x: Rows, factors: tuple[int, int, int]) -> Rows:
    """Nearest neighbours: the first frame in space only, the others in time too."""
    in_time, down, across = (int(factor) for factor in factors)
    batch, channels, frames, height, width = x.shape
    shape = (batch, channels, 1 + (frames - 1) * in_time, height * down, width * across)

    def make(first: int, last: int) -> Tensor:
        low = first // down
        rows = x.make(low, math.ceil(last / down))
        rows = torch.cat([rows[:, :, :1], rows[:, :, 1:].repeat_interleave(in_time, 2)], 2) if in_time > 1 else rows
        rows = rows.repeat_interleave(down, 3)[:, :, :, first - low * down : last - low * down]
        return rows.repeat_interleave(across, 4)

    return Rows(shape, make, x.row, meta=x.meta)


def norm_of(x: Rows, norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel, (B, C, 1, 1, 1) float32, that a group norm of all of `x` comes to."""
    batch, channels, groups = x.shape[0], x.shape[1], norm.num_groups
    count, mean, spread = 0, torch.zeros(()), torch.zeros(())
    for first, last in x.strips(norm.weight.element_size()):
        part = x.make(first, last).reshape(batch, groups, -1).float()
        variance, middle = torch.var_mean(part, dim=2, correction=0)
        new = part.shape[2]
        if not count:
            count, mean, spread = new, middle, variance * new
            continue
        apart = middle - mean  # two sets' statistics joined (Chan, Golub and LeVeque 1979)
        total = count + new
        spread = spread + variance * new + apart.square() * (count * new / total)
        count, mean = total, mean + apart * (new / total)
    rate = torch.rsqrt(spread / count + norm.eps)
    weight, bias = norm.weight.float(), norm.bias.float()
    each = channels // groups
    scale = rate.repeat_interleave(each, 1) * weight
    shift = bias - mean.repeat_interleave(each, 1) * scale
    return scale[..., None, None, None], shift[..., None, None, None]


def activated(x: Rows, norm: tuple[Tensor, Tensor]) -> Rows:
    """SiLU of the normed intermediate; both are rounded to its dtype, as the plain decoder does."""
    scale, shift = norm

    def make(first: int, last: int) -> Tensor:
        part = x.make(first, last)
        return F.silu(torch.addcmul(shift, part, scale).to(part.dtype), inplace=True)

    return Rows(x.shape, make, x.row, meta=x.meta)
