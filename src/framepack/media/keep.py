"""Pictures that exist in memory, as the files a request names: a request is JSON, and a job outlives its process."""

import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from framepack.files.atomic import atomic_write, make_folder
from framepack.spec.picture import Picture

CACHE = "FRAMEPACK_CACHE"
"""Environment variable that names another folder for them."""


def picture(source: Path | str | Image.Image | np.ndarray, *, folder: Path | None = None, **edits: Any) -> Picture:
    """A picture of a request, of a file, a PIL image or an array, with its edits (see `spec.picture.Picture`).

    source: an array is uint8 (H, W, 3), or (H, W) for grey. What is no file is kept as a PNG named by its content in
    `folder`, by default `~/.cache/framepack/pictures` or below $FRAMEPACK_CACHE, where it stays: a job that is taken up
    again needs it. Raises ValueError for another kind of array.
    """
    if isinstance(source, str | Path):
        return Picture(file=Path(source), **edits)
    if not isinstance(source, Image.Image):
        if source.dtype != np.uint8 or source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] != 3):
            raise ValueError(
                f"a picture's array is uint8 (H, W, 3) or (H, W), got {source.dtype} {source.shape}: "
                "for floats in 0..1 multiply by 255 and call .astype('uint8')"
            )
        source = Image.fromarray(source)
    data = io.BytesIO()
    source.save(data, "PNG")
    content = data.getvalue()
    kept = folder or Path(os.environ.get(CACHE) or Path.home() / ".cache" / "framepack") / "pictures"
    file = kept / f"{sha256(content).hexdigest()[:24]}.png"
    if not file.exists():
        make_folder(kept)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)
    return Picture(file=file, **edits)
