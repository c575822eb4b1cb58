"""Damaged files: whatever is done to them, they decode or are refused with a MediaError, and soon."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from framepack.files.errors import MediaError
from framepack.media.image import load_image
from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.media.video import VideoWriter
from framepack.spec.formats import FORMATS

MUTATIONS = 300


def mutated(data, seed):
    """`data` with one to six injuries: bytes changed, cut off, left out, doubled or overwritten by extremes."""
    dice, result = random.Random(seed), bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at, length = dice.randrange(len(result)), dice.randint(1, 40)
        match dice.randrange(5):
            case 0:
                result[at] = dice.randrange(256)
            case 1:
                del result[at + 20 :]
            case 2 if len(result) > 60:
                del result[at : at + length]
            case 3:
                result[at:at] = result[at : at + length]
            case _:
                result[at : at + 4] = dice.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x01"]
                )
    return bytes(result)


def survives(read, data):
    """Whether `data` was read; a MediaError with one line of text is the only other way."""
    try:
        read(data)
    except MediaError as error:
        message = str(error)
    else:
        return True
    assert message.isprintable(), message
    return False


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"])
@pytest.mark.filterwarnings("ignore")
def test_a_mutated_image_is_decoded_or_refused(clip, kind):
    file = io.BytesIO()
    first, second = (Image.fromarray(frame) for frame in clip(2, height=24, width=32))
    first.save(file, kind, **({"save_all": True, "append_images": [second]} if kind in ("GIF", "WEBP") else {}))
    read = [survives(load_image, mutated(file.getvalue(), seed)) for seed in range(MUTATIONS)]
    assert True in read
    assert False in read


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_mutated_video_is_decoded_or_refused(tmp_path, clip, name):
    path = tmp_path / f"clip{FORMATS[name].suffix}"
    side = 8 if FORMATS[name].sequence else 32  # so that some changes miss the pictures, whose checksums show them
    with VideoWriter(path, size=(side, side), metadata='{"request": {}}', format=name) as writer:
        writer.write(clip(4, height=side, width=side))
    good = path.read_bytes()
    outcomes = []
    for seed in range(MUTATIONS):
        data = mutated(good, seed)
        outcomes.append(survives(lambda source: np.stack(list(read_video(source))), data))
        survives(probe, data)
        survives(read_metadata, data)
        survives(is_marked, data)
    assert True in outcomes
    assert False in outcomes
