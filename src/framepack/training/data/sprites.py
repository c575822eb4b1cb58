"""Cut-outs that stand in the start picture and move over it: their shape, texture, place, and how they cover frames.

A cut-out is a part of another picture inside a disc, polygon, star or blob with a soft edge. It is drawn for a few
clips of a batch and laid over the warped frames on the device, so that camera and light act on it as on the scene.
Knows no prompts and no speeds: see `motions`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

ANGLES = 72
"""Points of an outline's table of radii."""
SMALLEST, LARGEST = 0.3, 0.6
"""Diameter as a share of the picture's shorter side."""
STRIDE, MARGIN = 4, 12
"""Cut-outs are looked for at every fourth pixel, with so many pixels to spare: enough for a camera twice as far."""
CONTRAST = 0.7
"""Least distance of a cut-out's mean colour to what it covers, levels in -1..1: it can be told from the scene."""
BLURRED = 0.5
"""Share of scenes that are blurred behind their cut-out, like a background out of focus."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The cut-outs of a batch, where they are in frame 0."""

    clips: Tensor
    """(n,) which clips have one"""
    colours: Tensor
    """(n, 3, S, S) in -1..1, one texel a pixel"""
    alpha: Tensor
    """(n, 1, S, S) in 0..1"""
    centre: Tensor
    """(n, 2) pixels right of and below the picture's middle"""

    def select(self, mask: Tensor) -> "Layer | None":
        """The cut-outs where `mask` (n,) is true; None if there are none."""
        return Layer(**{name: tensor[mask] for name, tensor in vars(self).items()}) if mask.any() else None


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How cut-outs have moved since frame 0: shift (n, F, 2) pixels, scale and clockwise angle (n, F)."""

    shift: Tensor
    scale: Tensor
    angle: Tensor


def overlay(frames: Tensor, sources: Tensor, layer: Layer, pose: Pose) -> None:
    """Lay the cut-outs over `frames` (B, 3, F, H, W) in place.

    sources (B, F, H, W, 2): the place of the scene that each pixel shows, pixels from the middle.
    """
    pictures = torch.cat([layer.colours * layer.alpha, layer.alpha], dim=1)
    centres = layer.centre[:, None] + pose.shift
    boxes = _boxes(sources, layer, centres, pose.scale)
    for index, (clip, (top, bottom, left, right)) in enumerate(zip(layer.clips.tolist(), boxes, strict=True)):
        area = (..., slice(top, bottom), slice(left, right))
        x, y = (sources[clip, :, top:bottom, left:right, axis] - centres[index, :, axis, None, None] for axis in (0, 1))
        cos, sin = (
            (turn(pose.angle[index]) * 2 / (pictures.shape[-1] * pose.scale[index]))[:, None, None]
            for turn in (torch.cos, torch.sin)
        )
        grid = torch.stack([cos * x + sin * y, cos * y - sin * x], dim=-1)
        shown = functional.grid_sample(
            pictures[index, None], grid.flatten(0, 1)[None], padding_mode="zeros", align_corners=False
        )[0].unflatten(1, grid.shape[:2])
        frames[clip][area].mul_(1 - shown[3:]).add_(shown[:3])


def _boxes(sources: Tensor, layer: Layer, centres: Tensor, scale: Tensor) -> list[tuple[int, int, int, int]]:
    """Rows and columns (top, bottom, left, right) outside which no frame of a clip shows its cut-out."""
    coarse = sources[:, :, ::STRIDE, ::STRIDE][layer.clips]
    reach = scale * layer.alpha.shape[-1] / 2 + MARGIN
    near = (coarse - centres[:, :, None, None]).square().sum(-1) < reach.square()[..., None, None]
    rows, columns = near.any(1).any(2), near.any(1).any(1)
    boxes = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        spans = [[i for i, hit in enumerate(line) if hit] or [0, -1] for line in (row, column)]
        boxes.append(tuple(edge for span in spans for edge in (STRIDE * span[0], STRIDE * (span[-1] + 1))))
    return boxes


def draw_layer(
    random: Generator,
    textures: Sequence[NDArray[np.uint8]],
    images: Tensor,
    clips: Sequence[int],
    headings: Sequence[tuple[float, float]],
) -> Layer:
    """One cut-out for each of the `clips` of `images` (B, 3, H, W), of that many textures (S, S, 3).

    headings: where each will go (right, down); it starts on the other side of the middle.
    """
    device, (height, width) = images.device, images.shape[2:]
    shorter = min(height, width)
    diameters = random.uniform(SMALLEST, LARGEST, len(clips)) * shorter
    side = int(diameters.max()) + 4
    centres = [_start(random, heading) for heading in headings]
    outlines = torch.tensor(np.stack([_outline(random) for _ in clips]), dtype=torch.float32, device=device)
    softness = torch.tensor(random.uniform(1.0, 2.5, len(clips)), dtype=torch.float32, device=device)
    radii = torch.tensor(diameters / 2, dtype=torch.float32, device=device)
    layer = Layer(
        clips=torch.tensor(list(clips), device=device),
        colours=torch.cat([fitted(texture, (side, side), device) for texture in textures]),
        alpha=_alpha(outlines, radii, softness, side),
        centre=torch.tensor(centres, dtype=torch.float32, device=device) * shorter,
    )
    return _distinct(layer, images)


def blur_backgrounds(random: Generator, images: Tensor, clips: Sequence[int]) -> Tensor:
    """`images` with some of the `clips` out of focus and paler."""
    chosen = [clip for clip in clips if random.random() < BLURRED]
    if chosen:
        images = images.clone()
        soft = functional.avg_pool2d(functional.pad(images[chosen], (2, 2, 2, 2), mode="reflect"), 5, stride=1)
        images[chosen] = 0.8 * soft
    return images


def _start(random: Generator, heading: tuple[float, float]) -> list[float]:
    """Where a cut-out stands in frame 0, in shorter sides from the middle."""
    length = math.hypot(*heading)
    back = random.uniform(0.05, 0.3) / length if length else 0.0
    return [float(random.uniform(-0.18, 0.18) - back * part) for part in heading]


def _outline(random: Generator) -> NDArray[np.float64]:
    """Radius over the angle, (ANGLES,), largest 1: a disc, an ellipse, a polygon, a star or a blob."""
    angle = np.arange(ANGLES) * (2 * math.pi / ANGLES)
    kind = random.random()
    if kind < 0.25:
        flat = random.uniform(0.6, 1.0)
        radius = 1 / np.sqrt(np.cos(angle) ** 2 + (np.sin(angle) / flat) ** 2)
    elif kind < 0.6:
        corners = int(random.integers(3, 7))
        part = angle % (2 * math.pi / corners)
        radius = math.cos(math.pi / corners) / np.cos(part - math.pi / corners)
        if random.random() < 0.35:
            radius = 0.45 + 0.55 * np.abs(1 - part * corners / math.pi)
    else:
        waves = range(2, 6)
        bumps = [random.uniform(0, 0.6) / n * np.cos(n * angle + random.uniform(0, 6.3)) for n in waves]
        radius = 1 + np.sum(bumps, axis=0)
    return np.roll(radius / radius.max(), int(random.integers(ANGLES)))


def _alpha(outlines: Tensor, radii: Tensor, softness: Tensor, side: int) -> Tensor:
    """(n, 1, side, side) in 0..1: inside the outline, `softness` pixels wide at the edge."""
    line = torch.arange(side, device=outlines.device) - (side - 1) / 2
    turn = torch.atan2(line[:, None], line[None]) % (2 * math.pi) * (ANGLES / (2 * math.pi))
    low = turn.long() % ANGLES
    part = turn - turn.floor()
    radius = outlines[:, low] * (1 - part) + outlines[:, (low + 1) % ANGLES] * part
    distance = torch.hypot(line[:, None], line[None])
    inside = (radius * radii[:, None, None] - distance) / softness[:, None, None]
    return (inside + 0.5).clamp(0, 1)[:, None]


def _distinct(layer: Layer, images: Tensor) -> Layer:
    """The layer with colours moved away from those it covers, where they are too near."""
    side = layer.alpha.shape[-1]
    line = torch.arange(side, device=images.device) - (side - 1) / 2
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1) + layer.centre[:, None, None]
    covered = functional.grid_sample(
        images[layer.clips], grid * 2 / torch.tensor(images.shape[:1:-1], device=images.device), align_corners=False
    )
    weight = layer.alpha / layer.alpha.sum((2, 3), keepdim=True)
    apart = ((layer.colours - covered) * weight).sum((2, 3), keepdim=True)
    apart = torch.where(apart.abs() < 1e-3, 1e-3, apart)
    length = apart.norm(dim=1, keepdim=True)
    return replace(layer, colours=(layer.colours + apart / length * (CONTRAST - length).clamp(min=0)).clamp(-1, 1))


def fitted(picture: NDArray[np.uint8], size: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, *size) in -1..1 on `device`, as sharp as `media.image` makes a user's picture."""
    pixels = torch.from_numpy(picture).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
    return functional.interpolate(pixels, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
