"""A file with a sound in it."""

import wave
from pathlib import Path

import numpy as np

RATE = 16000


def tone(file: Path, seconds: float = 3.0) -> Path:
    """A steady tone, as a wav."""
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((9000 * np.sin(np.arange(round(RATE * seconds)) / 6)).astype("<i2").tobytes())
    return file
