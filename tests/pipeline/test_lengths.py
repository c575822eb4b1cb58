"""What is asked for is what is delivered, to the frame, and the file says so."""

import random
from pathlib import Path

import pytest
from runs import request_of

from framepack import FramePack
from framepack.media.metadata import read_metadata
from framepack.media.read import probe
from framepack.spec.events import Finished

CHANCE = random.Random(17)
ALL = [(seconds, window) for seconds in (round(CHANCE.uniform(0.03, 5), 3) for _ in range(40)) for window in (3, 5, 9)]
SOME = CHANCE.sample(ALL, 4)


def delivers(framepack: FramePack, picture: Path, folder: Path, seconds: float, window: int) -> None:
    request = request_of(
        picture, folder / "v.mkv", model=framepack.model, seconds=seconds, window=window, length="exact", steps=1
    )
    *_, finished = framepack.generate(request)
    assert isinstance(finished, Finished)
    found = probe(finished.file)
    assert found.frames == finished.frames == request.frame_count
    assert abs(found.frames / 30 - seconds) <= 0.5 / 30 or found.frames == 1
    said = read_metadata(finished.file)
    assert said is not None
    assert (said["request"]["seconds"], said["request"]["length"]) == (seconds, "exact")


@pytest.mark.parametrize(("seconds", "window"), SOME)
@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_video_lasts_as_long_as_was_asked(model, seconds, window, framepacks, picture, tmp_path):
    delivers(framepacks[model], picture, tmp_path, seconds, window)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_40_lengths_in_three_windows(model, framepacks, picture, tmp_path):
    for seconds, window in ALL:
        delivers(framepacks[model], picture, tmp_path, seconds, window)
