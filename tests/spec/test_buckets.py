import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepack.spec.buckets import BUCKETS_640, buckets, find_bucket

UNITS = Path(__file__).parents[3] / "shared" / "reference" / "units.json"
KNOWN = [
    (100, 100, 640, 608),
    (480, 640, 544, 704),
    (720, 1280, 480, 832),
    (1920, 1080, 832, 480),
    (1000, 333, 960, 416),
    (333, 1000, 416, 960),
    (513, 512, 640, 608),
    (1, 5, 416, 960),
    (608, 640, 608, 640),
]
"""(height, width) and the public application's bucket (height, width) for it."""


@pytest.mark.parametrize(("height", "width", "bucket_height", "bucket_width"), KNOWN)
def test_the_bucket_is_the_public_applications(height, width, bucket_height, bucket_width):
    assert find_bucket(width, height) == (bucket_width, bucket_height)


@pytest.mark.skipif(not UNITS.exists(), reason="the reference numbers are not here")
def test_the_buckets_equal_the_reference_numbers():
    for row in json.loads(UNITS.read_text())["buckets_640"]:
        assert find_bucket(row["w"], row["h"]) == (row["bucket"][1], row["bucket"][0])


def test_base_640_is_the_table_of_fourteen():
    assert buckets(640) == BUCKETS_640
    assert len(BUCKETS_640) == 14


@pytest.mark.parametrize("base", [64, 128, 256, 320, 512, 768, 1024])
def test_every_bucket_of_every_base_is_a_multiple_of_16_near_the_square_of_the_base(base):
    for height, width in buckets(base):
        assert height % 16 == width % 16 == 0
        assert 0.7 < height * width / base**2 < 1.15


def test_half_the_base_is_half_the_table():
    assert buckets(320) == tuple((height // 2, width // 2) for height, width in BUCKETS_640)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_no_bucket_is_nearer_and_no_later_one_as_near(width, height):
    found_width, found_height = find_bucket(width, height)
    best = abs(height * found_width - width * found_height)
    at = BUCKETS_640.index((found_height, found_width))
    for index, (other_height, other_width) in enumerate(BUCKETS_640):
        distance = abs(height * other_width - width * other_height)
        assert distance > best or (distance == best and index <= at)


@pytest.mark.parametrize("base", [0, -16, 100, 8192])
def test_a_base_that_cannot_work_is_refused_with_one_that_can(base):
    with pytest.raises(ValueError, match=r"multiple of 16 in 64\.\.2048.*try \d+"):
        buckets(base)
