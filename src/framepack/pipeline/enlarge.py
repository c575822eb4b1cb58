"""A network that enlarges frames, out of a user's safetensors file, on the device there is.

Frames go through it in tiles with a margin, so that its memory does not grow with their size.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from framepack.files.errors import MediaError
from framepack.media.finishing import Enlarge
from framepack.media.sinks import Frame
from framepack.media.source import open_source
from framepack.memory import MemoryManager
from framepack.models.upscaler import RRDBNet

NAME = "upscaler"
"""What memory calls the network."""
TILE, MARGIN = 192, 16
"""Pixels of a tile's side, and of what it sees beyond its edges."""
MOST = 1 << 30
"""Bytes a network's file may have; Real-ESRGAN x4plus has 67 MB."""


def network_of(file: Path, memory: MemoryManager) -> Enlarge:
    """What enlarges a frame (H, W, 3) by the network's own factor; `memory` lends the network from now on.

    MediaError for a file that is none.
    """
    with open_source(file) as opened:
        if opened.seek(0, 2) > MOST:
            raise MediaError(f"'{file}' has more than {MOST >> 30} GB: it is no network that enlarges")
    try:
        memory.add(NAME, RRDBNet.of(load_file(file)))
    except (SafetensorError, ValueError) as error:
        raise MediaError(f"'{file}' is no network that enlarges ({error})") from error

    @torch.inference_mode()
    def enlarge(frame: Frame) -> Frame:
        pixels = rearrange(torch.from_numpy(np.ascontiguousarray(frame)), "H W C -> 1 C H W").float() / 255
        with memory.lease(NAME) as network:
            return in_tiles(network, pixels, memory.device)

    return enlarge


def in_tiles(network: RRDBNet, pixels: Tensor, device: torch.device) -> Frame:
    """(1, 3, H, W) in 0..1 to uint8 (factor H, factor W, 3), tile by tile."""
    factor, (height, width) = network.factor, pixels.shape[2:]
    result = np.empty((factor * height, factor * width, 3), np.uint8)
    for rows in tiles(height):
        for columns in tiles(width):
            top, left = max(rows.start - MARGIN, 0), max(columns.start - MARGIN, 0)
            seen = pixels[:, :, top : rows.stop + MARGIN, left : columns.stop + MARGIN].to(device)
            made = network(padded(seen, network.fold))
            inner = made[
                0,
                :,
                factor * (rows.start - top) : factor * (rows.stop - top),
                factor * (columns.start - left) : factor * (columns.stop - left),
            ]
            place = slice(factor * rows.start, factor * rows.stop), slice(factor * columns.start, factor * columns.stop)
            result[place] = rearrange(inner.clamp(0, 1) * 255, "C H W -> H W C").round().byte().cpu().numpy()
    return result


def padded(pixels: Tensor, fold: int) -> Tensor:
    """With sides that are multiples of `fold`; what is added repeats the edge."""
    down, across = (-side % fold for side in pixels.shape[2:])
    return torch.nn.functional.pad(pixels, (0, across, 0, down), mode="replicate") if down or across else pixels


def tiles(side: int) -> Iterator[range]:
    """Tiles of one side."""
    return (range(start, min(start + TILE, side)) for start in range(0, side, TILE))
