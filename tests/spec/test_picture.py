"""A picture is a path, or an object with edits; both are lossless as JSON, on every picture of a request."""

from pathlib import Path

import numpy as np
import pytest

from framepack.spec.model import RequestError
from framepack.spec.parts import EndFrame, Keyframe
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest

EDITS = {"rotate": 90, "flip": "horizontal", "crop": [0.1, 0.0, 1.0, 0.5], "exposure": -0.5, "fit": "blur"}


def test_a_plain_path_stays_a_plain_path():
    request = GenerationRequest(image="a.png", end_frame=EndFrame(image=Path("e.png")))
    written = request.model_dump(mode="json")
    assert written["image"] == "a.png"
    assert written["end_frame"]["image"] == "e.png"
    assert request.image == Picture(file=Path("a.png"))
    assert not request.image.edited


def test_edits_survive_as_json_on_every_picture():
    edited = {"file": "a.png", **EDITS}
    request = GenerationRequest(
        image=edited,
        frames=(Keyframe(image={"file": "k.png", "contrast": 1.5}, second=1),),
        end_frame=EndFrame(image={"file": "e.png", "focus": [0.2, 0.8]}),
    )
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    assert request.model_dump(mode="json")["image"] == edited
    assert {key: picture.edited for key, picture in request.pictures.items()} == dict.fromkeys(request.pictures, True)
    assert request.without_folders().image.rotate == 90


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ({"rotate": 45}, "rotate"),
        ({"crop": [0.5, 0, 0.5, 1]}, "LEFT < RIGHT"),
        ({"crop": "0/0/1"}, "such as 0.1/0/0.9/1, got '0/0/1'"),
        ({"crop": [0, 0, 2, 1]}, "must be 0..1, got 2"),
        ({"exposure": 9}, "exposure must be -4..4, got 9"),
        ({"saturation": float("nan")}, "saturation must be 0..4, got nan"),
        ({"fit": "stretch"}, "fit"),
        ({"brightness": 2}, "no setting called"),
    ],
)
def test_an_impossible_edit_is_one_sentence(edits: dict, words: str):
    with pytest.raises(RequestError) as caught:
        GenerationRequest.model_validate({"image": {"file": "a.png", **edits}})
    assert words in str(caught.value)


def test_an_array_is_told_how_to_become_a_picture():
    with pytest.raises(RequestError) as caught:
        GenerationRequest.model_validate({"image": np.zeros((4, 4, 3), np.uint8)})
    assert "framepack.picture" in str(caught.value)
