"""What the page's editor draws: the picture as a video will have it, equal to what generation makes of it."""

import io
import json
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.media.edit import edited, fitted
from framepack.media.video import VideoWriter
from framepack.spec.picture import Picture
from framepack.spec.request import GenerationRequest


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def handed_in(client, pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return client.post("/api/uploads", files={"file": ("me.png", out.getvalue())}).json()[0]["id"]


def asked(client, upload: str, edits: dict | None = None, video: dict | None = None, **more):
    query = {"edits": json.dumps(edits or {}), **more}
    return client.get(
        f"/api/uploads/{upload}/edited", params=query | ({"video": json.dumps(video)} if video is not None else {})
    )


def drawn(answer) -> np.ndarray:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png"), answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


EDITS = [
    {},
    {"rotate": 90},
    {"rotate": 270, "flip": "vertical"},
    {"flip": "horizontal"},
    {"crop": [0.1, 0.25, 0.8, 0.9]},
    {"exposure": 0.7},
    {"contrast": 0.4},
    {"saturation": 2},
    {"fit": "pad"},
    {"fit": "blur", "crop": [0, 0, 0.3, 1]},
    {"focus": [0.1, 0.9]},
]


def test_what_is_drawn_is_what_generation_makes_of_it(client, pixels) -> None:
    upload = handed_in(client, pixels)
    videos = cycle(({"model": "mini"}, {"width": 64, "height": 160}, {"resolution": 256}))
    for edits, video in zip(EDITS, videos, strict=False):
        picture = Picture.model_validate({"file": upload, **edits})
        own = edited(pixels, picture)
        assert np.array_equal(drawn(asked(client, upload, edits)), own), edits
        request = GenerationRequest.model_validate({"image": picture, **video})
        height, width = request.size or request.size_for(*own.shape[:2])
        answer = asked(client, upload, edits, video)
        assert np.array_equal(drawn(answer), fitted(own, picture, width, height)), (edits, video)
        assert answer.headers["x-size"] == f"{width}x{height}"


def test_a_picture_on_the_way_gets_the_size_of_the_edited_start_picture(client, pixels) -> None:
    start, upload = handed_in(client, pixels[:, :30]), handed_in(client, pixels)
    turned = {"file": start, "rotate": 90}
    answer = asked(client, upload, {}, {"image": turned})
    width, height = (int(side) for side in answer.headers["x-size"].split("x"))
    assert (height, width) == GenerationRequest.model_validate({"image": turned}).size_for(30, 60)
    assert np.array_equal(drawn(answer), fitted(pixels, Picture(file=Path(upload)), width, height))


def test_of_a_video_its_first_frame_is_drawn_at_the_size_that_its_task_gives_it(client, tmp_path, pixels) -> None:
    frames = np.resize(pixels, (3, 128, 160, 3))
    with VideoWriter(tmp_path / "a.mkv", size=(160, 128)) as writer:
        writer.write(frames)
    upload = client.post("/api/uploads", files={"file": ("a.mkv", (tmp_path / "a.mkv").read_bytes())}).json()[0]["id"]
    for task, size in (("extend", "160x128"), ("bridge", "160x128"), ("image", "176x144")):
        answer = asked(client, upload, video={"task": task, "model": "mini"})
        assert (answer.status_code, answer.headers["x-size"]) == (200, size), task
    assert drawn(asked(client, upload, {"rotate": 90})).shape == (160, 128, 3)
    refused = asked(client, upload, video={"task": "dance"})
    assert "task must be one of image, extend" in refused.json()["error"]


def test_it_is_made_smaller_to_be_looked_at_and_its_size_in_the_video_is_reported(client, pixels) -> None:
    upload = handed_in(client, pixels)
    answer = asked(client, upload, {}, {"width": 640, "height": 320}, longest=64)
    assert drawn(answer).shape == (32, 64, 3)
    assert answer.headers["x-size"] == "640x320"


WRONG = [
    ({"edits": '{"rotate": 45}'}, "rotate must be one of 0, 90, 180, 270, got 45"),
    ({"edits": '{"exposure": 9}'}, "exposure must be -4..4, got 9"),
    ({"edits": '{"crop": [0.5, 0, 0.5, 1]}'}, "crop is LEFT/TOP/RIGHT/BOTTOM with LEFT < RIGHT and TOP < BOTTOM"),
    ({"edits": '{"sharpen": 1}'}, "there is no setting called sharpen"),
    ({"edits": '{"file": "/etc/passwd"}'}, "the address names the file: leave it out of the edits"),
    ({"edits": "rotate"}, "edits in the address must be a JSON object, got 'rotate'"),
    ({"edits": "[]"}, "edits in the address must be a JSON object, got '[]'"),
    ({"video": '{"width": 100, "height": 64}'}, "width must be a multiple of 16, got 100; try 96 or 112"),
    ({"video": '{"width": 64}'}, "width and height go together"),
    ({"video": '{"model": "best"}'}, "model must be one of"),
    ({"video": '{"seconds": 3}'}, "'seconds' does not decide a video's size"),
    ({"video": '{"image": "/etc/passwd"}'}, "'/etc/passwd' is not the name of an upload"),
    ({"video": '{"task": ["image"]}'}, "task must be one of image, extend"),
    ({"longest": "100000"}, "longest must be 4096 or less, got '100000'"),
    ({"edit": "{}"}, "'edit' in the address is not known"),
]


@pytest.mark.parametrize(("query", "said"), WRONG, ids=[said[:30] for _, said in WRONG])
def test_what_cannot_be_is_refused_in_one_sentence(client, pixels, query, said) -> None:
    upload = handed_in(client, pixels)
    answer = client.get(f"/api/uploads/{upload}/edited", params=query)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"].startswith(said), answer.json()


def test_an_unknown_upload_and_what_is_no_picture_are_told_apart(client, service) -> None:
    assert asked(client, "nothing.png").status_code == 404
    assert asked(client, "..%2Fqueue.db").status_code == 404
    (service.folders.outputs / "words.png").write_text("no picture")
    answer = asked(client, "words.png")
    assert answer.status_code == 400
    assert "the file is text, not an image that can be read" in answer.json()["error"]
