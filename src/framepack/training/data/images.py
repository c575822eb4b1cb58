"""Procedural still images: dead leaves, octave noise, stripes, horizons and letters, drawn from a seed.

Nothing is downloaded and nothing is licensed. The statistics aim at photographs (occlusion, power-law sizes, soft
and hard edges, shading, exposure, grain), so that a model trained on them moves *any* photo. Runs on the host; knows
nothing of motion. Source of the idea: dead leaves images, Lee, Mumford and Huang, 2001.
"""

import math
import string

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Palette = np.ndarray  # (colours, 3), 0..255

COLOURFUL = 45
"""mean distance of a colour from grey, levels, that few photographs exceed"""
STEEPEST = 10.0
"""how much a dull image may be stretched at most"""


def draw_image(random: Generator, size: int) -> np.ndarray:
    """One image, (size, size, 3) uint8. The same generator state gives the same image."""
    palette = _palette(random)
    image = _texture(random, size, palette)
    if random.random() < 0.3:
        _horizon(random, image, palette)
    _leaves(random, image, palette)
    return _finish(random, image)


def _palette(random: Generator) -> Palette:
    """A few colours around a base, of any saturation."""
    count = int(random.integers(3, 7))
    if random.random() < 0.3:
        colours = random.random((count, 3))
    else:
        colours = np.clip(random.random(3) + random.normal(0, random.uniform(0.1, 0.45), (count, 3)), 0, 1)
    grey = colours.mean(1, keepdims=True)
    return (grey + (colours - grey) * random.uniform(0.1, 1.0)) * 255


def _pick(random: Generator, palette: Palette) -> np.ndarray:
    return palette[random.integers(len(palette))]


def _octaves(random: Generator, height: int, width: int, falloff: float | None = None) -> np.ndarray:
    """Noise of several octaves in 0..1, (height, width) float32; `falloff`: amplitude of an octave to the last."""
    falloff = float(random.uniform(0.4, 1.0)) if falloff is None else falloff
    total = np.zeros((height, width), np.float32)
    amplitude, cells = 1.0, int(random.integers(2, 5))
    while cells < max(height, width):
        grid = Image.fromarray(random.standard_normal((cells + 1, cells + 1)).astype(np.float32))
        total += amplitude * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        amplitude, cells = amplitude * falloff, cells * 2
    total -= total.min()
    return total / (total.max() + 1e-6)


def _texture(random: Generator, size: int, palette: Palette) -> np.ndarray:
    """A textured plane, (size, size, 3) float32: two colours mixed by noise, rings or stripes."""
    mix = _octaves(random, size, size)
    if random.random() < 0.3:
        mix = np.sin(mix * random.uniform(6, 40)) * 0.5 + 0.5
    if random.random() < 0.25:
        y, x = np.mgrid[:size, :size].astype(np.float32)
        angle, frequency = random.uniform(0, math.pi), 2 * math.pi / random.uniform(4, 40)
        stripes = np.sin((x * math.cos(angle) + y * math.sin(angle)) * frequency + 3 * mix) * 0.5 + 0.5
        mix = 0.5 * mix + 0.5 * ((stripes > 0.5) if random.random() < 0.3 else stripes)
    image = _pick(random, palette) * (1 - mix[..., None]) + _pick(random, palette) * mix[..., None]
    if random.random() < 0.4:
        image = image + (_octaves(random, size, size, random.uniform(0.6, 1.0))[..., None] - 0.5) * random.uniform(
            20, 120
        )
    return image.astype(np.float32)


def _horizon(random: Generator, image: np.ndarray, palette: Palette) -> None:
    """A sky-like gradient over the upper part, in place."""
    size = image.shape[0]
    edge = int(size * random.uniform(0.3, 0.7))
    ramp = np.linspace(0, 1, edge)[:, None, None]
    image[:edge] = palette[0] * (1 - ramp) + palette[1] * ramp
    if random.random() < 0.5:
        image[:edge] += (_octaves(random, edge, size, 0.5)[..., None] - 0.5) * 80


def _leaves(random: Generator, image: np.ndarray, palette: Palette) -> None:
    """Overlapping shapes with power-law radii, in place."""
    size = image.shape[0]
    count = int(random.choice([0, 3, 12, 50, 140, 400], p=[0.03, 0.07, 0.16, 0.29, 0.27, 0.18]))
    smallest, largest, power = size * 0.012, size * random.uniform(0.15, 0.6), 1 - random.uniform(1.2, 2.6)
    textures = [_texture(random, size, palette) for _ in range(2)] if random.random() < 0.6 else []
    for _ in range(count):
        radius = (smallest**power + random.random() * (largest**power - smallest**power)) ** (1 / power)
        centre = random.uniform(-0.1 * size, 1.1 * size, 2)
        mask, left, top = _shape(random, size, centre, radius)
        if mask is None:
            continue
        height, width = mask.shape
        area = (slice(top, top + height), slice(left, left + width))
        fill = _pick(random, palette) + random.normal(0, 40) + random.normal(0, 15, 3)
        if textures and random.random() < 0.5:
            fill = textures[random.integers(2)][area] + (fill - 128) * 0.5
        if random.random() < 0.3:
            fill = fill + np.linspace(-1, 1, height)[:, None, None] * random.uniform(-60, 60)
        image[area] += (fill - image[area]) * mask[..., None]


def _shape(random: Generator, size: int, centre: np.ndarray, radius: float) -> tuple[np.ndarray | None, int, int]:
    """Coverage 0..1 of a random ellipse, polygon, line or word, cut to the image: (mask or None, left, top)."""
    outline, reach = _outline(random, size, radius)
    left, top = (max(0, int(value - reach)) for value in centre)
    right, bottom = (min(size, int(value + reach) + 2) for value in centre)
    if right <= left or bottom <= top:
        return None, 0, 0
    scale = 2  # drawn twice as large and averaged: smooth edges
    canvas = Image.new("L", ((right - left) * scale, (bottom - top) * scale), 0)
    draw = ImageDraw.Draw(canvas)
    points = [((x + centre[0] - left) * scale, (y + centre[1] - top) * scale) for x, y in outline]
    if len(points) > 2:
        draw.polygon(points, fill=255)
    elif len(points) == 2:
        draw.line(points, fill=255, width=int(random.integers(1, max(2, size // 30))) * scale)
    else:
        word = "".join(random.choice(list(string.ascii_letters + string.digits), int(random.integers(1, 5))))
        draw.text(points[0], word, fill=255, font=ImageFont.load_default(float(random.uniform(10, 40) * scale)))
    if random.random() < 0.15:
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(random.uniform(0.5, 3)) * scale))
    mask = np.asarray(canvas.reduce(scale), np.float32) / 255
    return mask, left, top


def _outline(random: Generator, size: int, radius: float) -> tuple[np.ndarray, float]:
    """Points around (0, 0) (one: a word, two: a line, more: a filled outline) and how far they reach."""
    kind = random.random()
    if kind < 0.45:
        angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        tilt, flat = random.uniform(0, math.pi), random.uniform(0.3, 1)
        x, y = radius * np.cos(angle), radius * flat * np.sin(angle)
        points = np.stack([x * math.cos(tilt) - y * math.sin(tilt), x * math.sin(tilt) + y * math.cos(tilt)], 1)
    elif kind < 0.8:
        corners = int(random.integers(3, 12))
        angle, reach = np.sort(random.uniform(0, 2 * math.pi, corners)), 1.2 * radius * random.uniform(0.4, 1, corners)
        points = np.stack([reach * np.cos(angle), reach * np.sin(angle)], 1)
    elif kind < 0.93:
        points = random.uniform(-0.6, 0.6, (2, 2)) * size
    else:
        return np.zeros((1, 2)), 90.0
    return points, float(np.abs(points).max()) + 2


def _exposed(random: Generator, image: np.ndarray) -> np.ndarray:
    """Brightness stretched between a dark and a bright end along an S, as a camera does; colours a little with it."""
    grey = image.mean(2, keepdims=True)
    low, high = np.quantile(grey, (0.02, 0.98))
    dark, bright = 50 * random.random() ** 2, 255 - 100 * random.random() ** 2
    gain = min((bright - dark) / max(high - low, 1.0), STEEPEST)
    share = np.clip((grey - (low + high) / 2) * gain / (bright - dark) + 0.5, 0, 1)
    share += random.random() * (share * share * (3 - 2 * share) - share)
    colour = image - grey
    return dark + (bright - dark) * share + colour * min(1.0, COLOURFUL / (np.abs(colour).mean() + 1)) * gain**0.3


def _finish(random: Generator, image: np.ndarray) -> np.ndarray:
    """Shading, exposure, blur, grain, sometimes grey; to uint8."""
    size = image.shape[0]
    if random.random() < 0.4:
        image = image * (1 - 0.6 * _octaves(random, size, size, 0.4)[..., None] * random.random())
    if random.random() < 0.9:
        image = _exposed(random, image)
    if random.random() < 0.2:
        blurred = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
        image = np.asarray(blurred.filter(ImageFilter.GaussianBlur(float(random.uniform(0.4, 1.8)))), np.float32)
    if random.random() < 0.3:
        image = image + random.normal(0, random.uniform(1, 6), image.shape)
    if random.random() < 0.1:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    return np.clip(image, 0, 255).astype(np.uint8)
