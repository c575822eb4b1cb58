"""What a video's shape cuts off is told before the work where it is much, for every picture, and the way out works."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.media.cuts import cuts, size_after, sizes_of_pngs
from framepack.media.edit import edited
from framepack.spec.parts import EndFrame, Keyframe
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


def request(start: str | dict = "a.png", end: str | dict = "c.png", way: str | dict = "b.png", **settings):
    pictures = {
        "image": start,
        "frames": (Keyframe.model_validate({"image": way, "second": 1}),),
        "end_frame": EndFrame.model_validate({"image": end}),
    }
    return GenerationRequest.model_validate({"width": 640, "height": 320, **pictures, **settings})


def test_a_little_is_not_worth_a_word_and_much_is_for_every_picture():
    assert cuts(request(), {"start": (200, 100), "frame:0": (200, 130), "end": (300, 120)}) == []
    said = cuts(request(), {"start": (100, 100), "frame:0": (100, 400), "end": (900, 100)})
    assert [line.split(" is cut off")[0] for line in said] == [
        "50% of the picture 'start'",
        "88% of the picture 'frame:0'",
        "78% of the picture 'end'",
    ]
    assert all("640x320" in line and "fit=pad and fit=blur" in line and len(line) <= 300 for line in said)


@pytest.mark.parametrize("edits", [{"fit": "pad"}, {"fit": "blur"}, {"focus": (0.5, 0.2)}])
def test_who_chose_what_is_seen_is_not_told(edits):
    wanted = request(start={"file": "a.png", **edits})
    assert cuts(wanted, {"start": (100, 100)}) == []


def test_a_video_in_the_start_pictures_shape_cuts_the_others():
    wanted = request(width=None, height=None)
    assert cuts(wanted, {"end": (100, 100)}) == []  # nobody knows the video's shape
    (said,) = cuts(wanted, {"start": (100, 200), "end": (200, 100)})
    assert "'end'" in said


@pytest.mark.parametrize(
    "edits", [{}, {"rotate": 90}, {"crop": (0.1, 0.2, 0.5, 1)}, {"rotate": 270, "crop": (0, 0, 1, 0.3)}]
)
def test_the_size_after_the_edits_is_foretold(edits, tmp_path):
    Image.new("RGB", (61, 40)).save(tmp_path / "a.png")
    picture = Picture(file=tmp_path / "a.png", **edits)
    height, width = edited(np.zeros((40, 61, 3), np.uint8), picture).shape[:2]
    assert size_after(picture, (61, 40)) == (width, height)
    wanted = GenerationRequest(image=picture)
    assert sizes_of_pngs(wanted, lambda file: file) == {"start": (width, height)}


def test_only_files_that_may_be_looked_at_are_looked_at(tmp_path):
    def find(file: Path) -> Path:
        raise ValueError("not ours")

    Image.new("RGB", (61, 40)).save(tmp_path / "a.png")
    assert sizes_of_pngs(GenerationRequest(image=tmp_path / "a.png"), find) == {}
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert sizes_of_pngs(GenerationRequest(image=tmp_path / "b.png"), lambda file: file) == {}
