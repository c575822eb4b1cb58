"""A picture as the image encoder wants it: resized and normalised as a folder's preprocessor_config.json says."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from framepack.models.checkpoint import FIX, CheckpointError, described_by, read_json

LARGEST_SIDE = 2048
"""Pixels that an image encoder can be shown; SigLIP's are 384."""


def preprocess(image: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """uint8 (H, W, 3) -> float32 (3, h, w), as the folder's `preprocessor_config.json` says."""
    if config.get("do_resize", True):
        height, width = config["size"]["height"], config["size"]["width"]
        resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
        image = np.asarray(Image.fromarray(image).resize((width, height), resample))
    pixels = image.astype(np.float32)
    if config.get("do_rescale", True):
        pixels *= np.float32(config.get("rescale_factor", 1 / 255))
    if config.get("do_normalize", True):
        pixels = (pixels - np.float32(config["image_mean"])) / np.float32(config["image_std"])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def load_preprocessor(vision: Path) -> dict[str, Any]:
    """`feature_extractor/preprocessor_config.json`, with the keys `preprocess` needs."""
    path = vision / "feature_extractor" / "preprocessor_config.json"
    config = read_json(path)
    if missing := [key for key in ("size", "image_mean", "image_std") if key not in config]:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}; {FIX}")
    with described_by(path):
        if max(config["size"]["height"], config["size"]["width"]) > LARGEST_SIDE:
            raise ValueError(f"size must be at most {LARGEST_SIDE}")
        if not np.all(config["image_std"]):
            raise ValueError("image_std must not be 0")
        preprocess(np.zeros((2, 2, 3), np.uint8), config)
    return config
