"""Motion: what happens to a still image, as rates per frame, and the frames that come of it, on any device.

A `Rates` row says how fast each thing changes; a clip's state at frame f is the sum of rates until f, so speeds,
combinations and motion that changes on the way need no further code. All distances are pixels per frame, whatever
the image's size: the same local rule then holds at every size. Warps read the source frame with reflected borders.
Cut-outs (`sprites`) move over the scene by columns of their own. No prompts here: see `grammar`.
"""

import math
from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from framepack.training.data.sprites import Layer, Pose, overlay

RIPPLE_PIXELS, RIPPLE_WAVELENGTH, RIPPLE_ONSET_FRAMES = 6.0, 32 * math.pi, 16.0
"""A wave is one turn of RoPE's fastest channels long, at 16 pixels a token: tokens cannot tell shorter ones apart."""
SWAY_PIXELS, SWAY_RADIANS = 5.0, 0.03
GRAVITY = 0.045
"""A fall gains so many pixels a frame in each frame."""
BOUNCE_PIXELS, LARGEST_GROWTH = 12.0, 1.1
"""Height of a bounce; log of the scale that growing comes near."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What changes in one frame at normal speed. The order of the fields is the order of a state's columns."""

    right: float = 0.0
    """the camera moves right, pixels"""
    down: float = 0.0
    """the camera moves down, pixels"""
    closer: float = 0.0
    """the camera comes closer, log of the scale"""
    clockwise: float = 0.0
    """the picture turns clockwise, radians"""
    sway: float = 0.0
    """phase of swaying, radians"""
    ripple: float = 0.0
    """phase of a ripple, radians"""
    light: float = 0.0
    """towards full light (above 0) or night (below 0)"""
    warmth: float = 0.0
    """towards warm (above 0) or cool (below 0)"""
    sprite_right: float = 0.0
    """the cut-out moves right over the scene, pixels"""
    sprite_down: float = 0.0
    """the cut-out moves down over the scene, pixels"""
    fall: float = 0.0
    """frames that the cut-out has been falling for"""
    bounce: float = 0.0
    """bounces of the cut-out, 1 for each"""
    grow: float = 0.0
    """the cut-out grows, log of its scale at first"""
    spin: float = 0.0
    """the cut-out turns clockwise, radians"""

    def row(self, speed: float = 1.0) -> Tensor:
        """(columns,) float32."""
        return torch.tensor(astuple(self)) * speed


COLUMNS = {field.name: column for column, field in enumerate(fields(Rates))}

MOTIONS: dict[str, Rates] = {
    "pan left": Rates(right=-0.5),
    "pan right": Rates(right=0.5),
    "pan up": Rates(down=-0.5),
    "pan down": Rates(down=0.5),
    "zoom in": Rates(closer=0.006),
    "zoom out": Rates(closer=-0.006),
    "roll clockwise": Rates(clockwise=0.006),
    "roll counterclockwise": Rates(clockwise=-0.006),
    "sway": Rates(sway=math.pi / 24),
    "ripple": Rates(ripple=math.pi / 12),
    "brighten": Rates(light=0.035),
    "darken": Rates(light=-0.035),
    "warmer": Rates(warmth=0.035),
    "cooler": Rates(warmth=-0.035),
    "still": Rates(),
}

SPRITE_MOTIONS: dict[str, Rates] = {
    "sprite left": Rates(sprite_right=-0.6),
    "sprite right": Rates(sprite_right=0.6),
    "sprite up": Rates(sprite_down=-0.6),
    "sprite down": Rates(sprite_down=0.6),
    "sprite falls": Rates(fall=1.0),
    "sprite bounces": Rates(bounce=1 / 24),
    "sprite grows": Rates(grow=0.014),
    "sprite spins": Rates(spin=0.06),
}
"""What a cut-out does; only for pictures that have one."""
SPRITE_COLUMNS = slice(COLUMNS["sprite_right"], COLUMNS["spin"] + 1)

SPEEDS = {"slow": 0.5, "normal": 1.0, "fast": 1.6}


def state_at(frames: Tensor, before: Tensor, after: Tensor, change: Tensor) -> Tensor:
    """Sum of rates until each frame: `before` (B, columns) holds until frame `change` (B,), `after` from there on.

    frames (B, F) or (F,), counted from the start image -> (B, F, columns).
    """
    frames = frames.to(before).expand(before.shape[0], frames.shape[-1])
    early, late = frames.minimum(change[:, None]), (frames - change[:, None]).clamp(min=0)
    return early[..., None] * before[:, None] + late[..., None] * after[:, None]


def render(images: Tensor, state: Tensor, layer: Layer | None = None) -> Tensor:
    """Frames of the moving image: images (B, 3, H, W) in -1..1, state (B, F, columns) -> (B, 3, F, H, W) in -1..1.

    The layer's cut-outs, which `images` does not show, lie over the scene; light and warmth act on both.
    """
    height, width = images.shape[2:]
    sources = _sources(state, height, width)
    grid = sources * torch.tensor([2 / (width - 1), 2 / (height - 1)], device=state.device)
    moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    frames = moved.unflatten(2, (state.shape[1], height))
    if layer is not None:
        overlay(frames, sources.unflatten(1, (state.shape[1], height)), layer, pose(state[layer.clips]))
    return _relight(frames, state)


def start_pictures(images: Tensor, layer: Layer) -> Tensor:
    """`images` (B, 3, H, W) with the cut-outs where they are in frame 0."""
    return render(images, torch.zeros(len(images), 1, len(COLUMNS), device=images.device), layer)[:, :, 0]


def pose(state: Tensor) -> Pose:
    """Where cut-outs are: state (n, F, columns). Growing slows down, so that a long clip is not all cut-out."""
    part = {name: state[..., column] for name, column in COLUMNS.items()}
    phase = part["bounce"] % 1
    height = 4 * BOUNCE_PIXELS * phase * (1 - phase)
    down = part["sprite_down"] + GRAVITY / 2 * part["fall"].square() - height
    grown = LARGEST_GROWTH * (1 - torch.exp(-part["grow"] / LARGEST_GROWTH))
    return Pose(shift=torch.stack([part["sprite_right"], down], dim=-1), scale=torch.exp(grown), angle=part["spin"])


def _sources(state: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of each frame is read from, (B, F * H, W, 2), pixels from the image's middle."""
    x = torch.arange(width, device=state.device) - (width - 1) / 2
    y = (torch.arange(height, device=state.device) - (height - 1) / 2)[:, None]
    part = {name: state[..., column, None, None] for name, column in COLUMNS.items()}
    scale, swing = torch.exp(-part["closer"]), torch.sin(part["sway"])
    angle = SWAY_RADIANS * swing - part["clockwise"]
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    phase, wave = part["ripple"], 2 * math.pi / RIPPLE_WAVELENGTH
    height_of_ripple = RIPPLE_PIXELS * (phase / (RIPPLE_ONSET_FRAMES * math.pi / 12)).clamp(0, 1)
    ripple_x = height_of_ripple * torch.sin(wave * (y + height / 2) - phase)
    ripple_y = height_of_ripple * torch.sin(wave * (x + width / 2) - 1.1 * phase)
    source_x = (cos * x + part["right"] + SWAY_PIXELS * swing) + (ripple_x - sin * y)  # one row plus one column
    source_y = (sin * x + part["down"] + ripple_y) + cos * y
    return torch.stack([source_x, source_y], dim=-1).flatten(1, 2)


def _relight(frames: Tensor, state: Tensor) -> Tensor:
    """Apply light and warmth; both saturate, so a long clip ends bright or dark, not white or black."""
    light = state[:, None, :, COLUMNS["light"]]
    warmth = state[:, None, :, COLUMNS["warmth"]]
    touched = ((light != 0) | (warmth != 0)).any(dim=2).squeeze(1)
    if not touched.any():
        return frames
    tint = torch.tensor([1.0, 0.93, 0.75], device=frames.device)[:, None]
    colours = torch.tensor([0.35, 0.02, -0.35], device=frames.device)[:, None]
    rise, fall = 1 - torch.exp(-light.clamp(min=0)), 1 - torch.exp(light.clamp(max=0))
    shift = colours * torch.sign(warmth) * (1 - torch.exp(-warmth.abs()))
    night = 1 - 0.8 * tint.flip(0) * fall
    gain = (1 - 0.55 * tint * rise + 0.15 * rise) * night * (1 + shift)
    offset = 0.55 * tint * rise * night * (1 + shift) + 0.2 * shift
    gain, offset = gain[touched][..., None, None], (gain + 2 * offset - 1)[touched][..., None, None]  # levels to -1..1
    frames[touched] = frames[touched].mul_(gain).add_(offset).clamp_(-1, 1)
    return frames
