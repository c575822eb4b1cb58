"""Arrays and PIL images become files that a request can name, once for each content."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import framepack
from framepack.media.image import load_image
from framepack.media.keep import picture

PIXELS = np.random.default_rng(1).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def test_an_array_and_the_same_pil_image_are_one_file(tmp_path: Path):
    first = picture(PIXELS, folder=tmp_path, rotate=90)
    second = picture(Image.fromarray(PIXELS), folder=tmp_path)
    assert first.file == second.file
    assert first.rotate == 90
    assert np.array_equal(load_image(first.file), PIXELS)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_request_takes_it_and_stays_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FRAMEPACK_CACHE", str(tmp_path))
    request = framepack.GenerationRequest(image=framepack.picture(PIXELS, fit="pad"))
    assert request.image.file.parent == tmp_path / "pictures"
    assert framepack.GenerationRequest.model_validate_json(request.model_dump_json()) == request


def test_a_file_stays_where_it_is():
    assert framepack.picture("a.png") == framepack.Picture(file=Path("a.png"))


@pytest.mark.parametrize("wrong", [PIXELS.astype(np.float32), PIXELS[..., :2], PIXELS[0, 0]])
def test_another_kind_of_array_is_told_what_is_wanted(wrong: np.ndarray, tmp_path: Path):
    with pytest.raises(ValueError, match="uint8"):
        picture(wrong, folder=tmp_path)
