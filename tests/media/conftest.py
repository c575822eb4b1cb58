"""Small clips and pictures that compress like real ones: smooth, moving, in colour."""

import numpy as np
import pytest


def moving(frames, height=64, width=96, start=0):
    """(T, H, W, 3) uint8: waves that travel; frame i depends on start + i only, and no two frames are equal."""
    t = np.arange(start, start + frames)[:, None, None, None]
    y, x, c = np.mgrid[:height, :width, :3]
    value = np.sin(x / 17 + t / 9 + c) + np.cos(y / 11 - t / 13 + 2 * c)
    return np.clip(127.5 + 55 * value, 0, 255).astype(np.uint8)


def psnr(a, b):
    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.fixture
def clip():
    return moving


@pytest.fixture
def decibels():
    return psnr
