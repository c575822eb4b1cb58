"""Draws the example pictures of the README, made of noise, ridges and a ball: harbour.jpg, ball.jpg."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, HORIZON = 768, 768, 400


def octaves(rng: np.random.Generator, height: int, width: int, roughness: float, first: int = 3) -> np.ndarray:
    """Fractal noise in 0..1, (height, width)."""
    total, amplitude, cells = np.zeros((height, width)), 1.0, first
    while cells < max(height, width):
        grid = Image.fromarray(rng.random((cells + 1, cells + 1)).astype(np.float32))
        total += amplitude * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        amplitude, cells = amplitude * roughness, cells * 2
    total -= total.min()
    return total / total.max()


def gradient(colours: list[tuple[int, int, int]], rows: int) -> np.ndarray:
    """A vertical run through `colours`, (rows, 1, 3)."""
    places = np.linspace(0, 1, len(colours))
    at = np.linspace(0, 1, rows)
    return np.stack([np.interp(at, places, [c[i] for c in colours]) for i in range(3)], -1)[:, None]


def ridge(image: np.ndarray, rng: np.random.Generator, base: int, height: int, colour: tuple, haze: tuple) -> None:
    """A mountain ridge with lit and shaded slopes, its foot in haze."""
    line = base - height * octaves(rng, 1, WIDTH, 0.5, 4)[0] ** 1.3
    rows = np.arange(HEIGHT)[:, None]
    inside = (rows >= line) & (rows < HORIZON)
    slope = np.gradient(line)[None] * 14
    texture = (octaves(rng, HEIGHT, WIDTH, 0.75, 12) - 0.5) * 46
    depth = np.clip((rows - line) / (HORIZON - line + 1), 0, 1)[..., None]
    rock = np.array(colour) + (texture + slope)[..., None]
    image[:] = np.where(inside[..., None], rock * (1 - 0.7 * depth) + np.array(haze) * 0.7 * depth, image)


def picture() -> Image.Image:
    """Sky, sun, three ridges, their reflection, a jetty and two boats."""
    rng = np.random.default_rng(4)
    image = np.zeros((HEIGHT, WIDTH, 3))
    image[:HORIZON] = gradient([(58, 84, 140), (120, 130, 170), (238, 170, 120), (255, 214, 150)], HORIZON)
    clouds = np.clip(octaves(rng, HORIZON, WIDTH, 0.55, 3) * 1.9 - 0.85, 0, 1)[..., None]
    light = gradient([(205, 205, 220), (255, 190, 150)], HORIZON)
    image[:HORIZON] = image[:HORIZON] * (1 - 0.75 * clouds) + light * 0.75 * clouds
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    sun = np.hypot(columns - 520, (rows - 300))
    image += np.where(rows < HORIZON, np.exp(-sun / 60) * 160 + (sun < 26) * 90, 0)[..., None] * (1, 0.85, 0.6)
    ridge(image, rng, 380, 190, (104, 104, 140), (240, 190, 150))
    ridge(image, rng, 400, 150, (74, 84, 100), (215, 165, 140))
    ridge(image, rng, 408, 70, (40, 62, 52), (110, 110, 100))
    mirror = image[HORIZON - 1 :: -1][: HEIGHT - HORIZON]
    depth = np.linspace(0, 1, HEIGHT - HORIZON)[:, None]
    waves = np.sin(
        np.linspace(0, 26, HEIGHT - HORIZON)[:, None] ** 1.5 + 5 * octaves(rng, HEIGHT - HORIZON, WIDTH, 0.6, 6)
    )
    shift = (columns[HORIZON:] + waves * (2 + 10 * depth)).astype(int).clip(0, WIDTH - 1)
    water = mirror[np.arange(len(mirror))[:, None], shift] * (0.82 - 0.35 * depth[..., None]) + np.array((8, 20, 34))
    image[HORIZON : HORIZON + len(water)] = water + (waves * 9 * depth)[..., None]
    drawn = Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    foreground(ImageDraw.Draw(drawn))
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    return Image.fromarray((np.asarray(drawn) + grain).clip(0, 255).astype(np.uint8))


def foreground(pen: ImageDraw.ImageDraw) -> None:
    """A jetty from the lower left, two boats, a lantern."""
    pen.polygon([(0, 690), (330, 560), (372, 566), (120, 767), (0, 767)], fill=(96, 66, 46))
    for i in range(16):
        t = i / 15
        left, right = (330 * t, 690 - 130 * t), (120 + 252 * t, 767 - 201 * t)
        pen.line([left, right], fill=(62, 42, 30), width=max(1, round(5 - 3 * t)))
    for x, y, h in [(40, 690, 120), (150, 640, 92), (244, 602, 70), (334, 568, 52)]:
        pen.rectangle([x - 5, y - h, x + 5, y + 18], fill=(52, 36, 28))
    pen.ellipse([322, 500, 346, 524], fill=(255, 226, 150))
    for x, y, s, colour in [(560, 560, 1.0, (176, 44, 38)), (660, 470, 0.5, (230, 228, 214))]:
        pen.polygon([(x - 90 * s, y), (x + 90 * s, y), (x + 60 * s, y + 34 * s), (x - 66 * s, y + 34 * s)], fill=colour)
        pen.line([(x, y), (x, y - 150 * s)], fill=(50, 38, 32), width=max(2, round(5 * s)))
        pen.polygon([(x + 6 * s, y - 146 * s), (x + 6 * s, y - 12 * s), (x + 76 * s, y - 12 * s)], fill=(240, 236, 224))


def ball() -> Image.Image:
    """A beach ball before dunes and sea."""
    rng, side = np.random.default_rng(7), 512
    rows, columns = np.mgrid[:side, :side]
    image = np.concatenate(
        [
            gradient([(128, 178, 222), (206, 226, 238)], 200) + np.zeros((1, side, 1)),
            gradient([(64, 128, 150), (120, 176, 178)], 70) + np.zeros((1, side, 1)),
            gradient([(222, 202, 160), (196, 168, 122)], side - 270) + np.zeros((1, side, 1)),
        ]
    )
    image += ((octaves(rng, side, side, 0.6, 4) - 0.5) * np.where(rows > 270, 60, 26))[..., None]
    down, across = (rows - 262) / 92, (columns - 250) / 92
    inside = down**2 + across**2 < 1
    height = np.sqrt(np.clip(1 - down**2 - across**2, 0, 1))
    stripe = (np.arctan2(across, height * 0.9 + 0.35 * down) / np.pi * 6 + 30).astype(int) % 2
    light = 0.45 + 0.6 * np.clip(0.5 * height - 0.5 * down - 0.35 * across, 0, 1)
    colours = np.where(stripe[..., None], (206, 46, 52), (240, 236, 226)) * light[..., None]
    shadow = ((columns - 268) / 100) ** 2 + ((rows - 356) / 16) ** 2 < 1
    image = np.where(shadow[..., None], image * 0.66, image)
    image = np.where(inside[..., None], colours, image)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))


if __name__ == "__main__":
    for draw, name in ((picture, "harbour.jpg"), (ball, "ball.jpg")):
        draw().save(Path(__file__).with_name(name), quality=90)
