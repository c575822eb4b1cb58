"""A network that enlarges frames, out of a user's safetensors file, on the device there is.

Frames go through it in tiles with a margin, so that its memory does not grow with their size.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from framepack.files.errors import MediaError
from framepack.media.finishing import Enlarge
from framepack.media.sinks import Frame
from framepack.media.source import open_source
from framepack.memory import MemoryManager
from framepack.memory.estimate import estimate
from framepack.memory.mapped import DTYPES
from framepack.models.upscaler import RRDBNet
from framepack.pipeline.stages import Modes
from framepack.pipeline.stages.upscale import MARGIN, NAME, TILE, UpscaleStage, tiles

STAGE, WHOLE = UpscaleStage(), Modes()
MOST = 1 << 30
"""Bytes a network's file may have; Real-ESRGAN x4plus has 67 MB."""


def network_of(file: Path, memory: MemoryManager) -> Enlarge:
    """What enlarges a frame (H, W, 3) by the network's own factor; `memory` lends the network from now on.

    MediaError for a file that is none.
    """
    network, needed = read_network(file, load_file), room_of(meta_network(file))
    memory.add(NAME, network)

    @torch.inference_mode()
    def enlarge(frame: Frame) -> Frame:
        pixels = rearrange(torch.from_numpy(np.ascontiguousarray(frame)), "H W C -> 1 C H W").float() / 255
        with memory.lease(NAME, activations=needed) as network:
            return in_tiles(network, pixels, memory.device)

    return enlarge


def meta_network(file: Path) -> RRDBNet:
    """The network in a file without its weights, on the meta device. MediaError for a file that is none."""

    def shapes(path: Path) -> dict[str, Tensor]:
        with safe_open(path, "pt") as opened:
            weights = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        return {
            name: torch.empty(weight.get_shape(), dtype=DTYPES.get(weight.get_dtype(), torch.int8), device="meta")
            for name, weight in weights.items()
        }

    return read_network(file, shapes)


def read_network(file: Path, read: Callable[[Path], Mapping[str, Tensor]]) -> RRDBNet:
    """The network of the weights that `read` makes of the file. MediaError for a file that is none."""
    with open_source(file) as opened:
        if opened.seek(0, 2) > MOST:
            raise MediaError(f"'{file}' has more than {MOST >> 30} GB: it is no network that enlarges")
    try:
        return RRDBNet.of(read(file))
    except (SafetensorError, ValueError) as error:
        raise MediaError(f"'{file}' is no network that enlarges ({error})") from error


def room_of(network: RRDBNet) -> int:
    """Bytes on the device that the largest tile takes beside the weights. network: on the meta device."""
    side = TILE + 2 * MARGIN
    return estimate(lambda: STAGE.work(network, torch.empty(1, 3, side, side, device="meta"), modes=WHOLE)).activations


def in_tiles(network: RRDBNet, pixels: Tensor, device: torch.device) -> Frame:
    """(1, 3, H, W) in 0..1 to uint8 (factor H, factor W, 3), tile by tile."""
    factor, (height, width) = network.factor, pixels.shape[2:]
    result = np.empty((factor * height, factor * width, 3), np.uint8)
    for rows in tiles(height):
        for columns in tiles(width):
            top, left = max(rows.start - MARGIN, 0), max(columns.start - MARGIN, 0)
            seen = pixels[:, :, top : rows.stop + MARGIN, left : columns.stop + MARGIN].to(device)
            made = STAGE.work(network, seen, modes=WHOLE)
            inner = made[
                0,
                :,
                factor * (rows.start - top) : factor * (rows.stop - top),
                factor * (columns.start - left) : factor * (columns.stop - left),
            ]
            place = slice(factor * rows.start, factor * rows.stop), slice(factor * columns.start, factor * columns.stop)
            result[place] = rearrange(inner.clamp(0, 1) * 255, "C H W -> H W C").round().byte().cpu().numpy()
    return result
