"""Small pictures of large things: thumbnails for a queue, a contact sheet of a batch, stills as PNG.

Knows nothing of jobs; pictures are (H, W, 3) uint8.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from framepack.files.atomic import atomic_write
from framepack.media.image import ImageRGB, encode_image
from framepack.media.marks import png_marked, wanted
from framepack.media.metadata import png_chunk
from framepack.media.parts import PNG_START

GAP, LABEL_HEIGHT = 8, 22
BACKGROUND, INK = (24, 24, 27), (228, 228, 231)


def thumbnail(image: ImageRGB, longest: int = 256) -> ImageRGB:
    """`image` scaled down so that its longer side is at most `longest` pixels; a smaller one stays as it is."""
    if longest < 1:
        raise ValueError(f"longest side must be at least 1 pixel, got {longest}")
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def contact_sheet(
    pictures: Sequence[ImageRGB],
    columns: int,
    *,
    width: int | None = None,
    labels: Sequence[str] | None = None,
    background: tuple[int, int, int] = BACKGROUND,
) -> ImageRGB:
    """`pictures` row by row in `columns`, each scaled to fit a cell and centred: one picture.

    A cell is `width` wide, by default as wide as the widest picture, and as high as the highest one then is. `labels`
    are written below the pictures, cut where they are too long.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a contact sheet needs pictures and at least 1 column, got {len(pictures)} and {columns}")
    if labels is not None and len(labels) != len(pictures):
        raise ValueError(f"labels must be as many as pictures, got {len(labels)} for {len(pictures)}")
    cell_width = width or max(picture.shape[1] for picture in pictures)
    scaled = [_fit(picture, cell_width) for picture in pictures]
    cell_height = max(picture.height for picture in scaled) + (LABEL_HEIGHT if labels else 0)
    rows = -(-len(scaled) // columns)
    sheet = Image.new("RGB", (columns * (cell_width + GAP) + GAP, rows * (cell_height + GAP) + GAP), background)
    for index, picture in enumerate(scaled):
        row, column = divmod(index, columns)
        left, top = GAP + column * (cell_width + GAP), GAP + row * (cell_height + GAP)
        room = cell_height - (LABEL_HEIGHT if labels else 0)
        sheet.paste(picture, (left + (cell_width - picture.width) // 2, top + (room - picture.height) // 2))
        if labels:
            _write(sheet, labels[index], (left, top + room + 4), cell_width)
    return np.asarray(sheet)


def save_png(path: Path, image: ImageRGB, metadata: str | None = None) -> None:
    """Writes `image` as PNG, whole or not at all; `metadata` (a JSON object) can be read back by `read_metadata`."""
    data = png_with(encode_image(image, "png"), metadata)
    with atomic_write(Path(path), len(data)) as temporary:
        temporary.write_bytes(data)


def png_with(png: bytes, metadata: str | None) -> bytes:
    """A PNG with `metadata` in it, and marked as made by AI where that wants it."""
    if metadata is None:
        return png
    whole = png[:PNG_START] + png_chunk(metadata) + png[PNG_START:]
    return png_marked(whole) if wanted(metadata) else whole


def _fit(picture: ImageRGB, width: int) -> Image.Image:
    image = Image.fromarray(picture)
    scale = min(width / image.width, 1.0)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _write(sheet: Image.Image, label: str, at: tuple[int, int], width: int) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    text = " ".join(label.split())[:500]
    while text and draw.textlength(text, font=font) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
    draw.text(at, text, fill=INK, font=font)
