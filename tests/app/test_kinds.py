"""Pictures and videos over HTTP, each where its field takes it: refused before it is queued, animations kept whole."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framepack.media.image import load_image
from framepack.media.video import VideoWriter


def pictures(kind: str, count: int) -> bytes:
    buffer = io.BytesIO()
    first, *others = (Image.new("RGB", (64, 64), (50 * number, 0, 99)) for number in range(count))
    more = {"save_all": True, "append_images": others, "duration": 100} if others else {}
    first.save(buffer, kind, **more)
    return buffer.getvalue()


def video(folder: Path) -> bytes:
    with VideoWriter(folder / "v.mp4", fps=10, size=(64, 64)) as writer:
        for number in range(5):
            writer.write(np.full((64, 64, 3), 40 * number, np.uint8))
    return (folder / "v.mp4").read_bytes()


def upload(client, data: bytes) -> dict:
    return client.post("/api/uploads", files={"file": ("x", data)}).json()[0]


EXTEND = {"model": "framepack-f1", "task": "extend", "seconds": 1}
RESTYLE = {"model": "framepack-f1", "task": "restyle"}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({**EXTEND, "image": "PICTURE"}, "image is a picture, and extend needs a video"),
        ({**RESTYLE, "image": "PICTURE"}, "image is a picture, and restyle needs"),
        ({"image": "VIDEO"}, "image takes a picture, and this is a video (mp4)"),
        ({"image": "VIDEO", "still": {}}, "image takes a picture"),
        ({"image": "PICTURE", "motion_mask": "VIDEO"}, "motion_mask takes a picture"),
        ({"image": "PICTURE", "end_frame": {"image": "VIDEO"}}, "end_frame.image takes a picture"),
        ({"image": "PICTURE", "reference": {"image": "VIDEO"}}, "reference.image takes a picture"),
        (
            {"image": "PICTURE", "seconds": 4, "frames": [{"image": {"file": "VIDEO", "rotate": 90}, "second": 2}]},
            "frames.0.image takes a picture",
        ),
        (
            {**RESTYLE, "image": "VIDEO", "seconds": 20, "prompts": [{"second": 9, "text": "x"}]},
            "must begin within the video's 0.50 s, got 9 s",
        ),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_before_it_is_queued(client, tmp_path, request_, says):
    ids = {"PICTURE": upload(client, pictures("PNG", 1))["id"], "VIDEO": upload(client, video(tmp_path))["id"]}

    def named(value: object) -> object:
        if isinstance(value, dict):
            return {key: named(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [named(inner) for inner in value]
        return ids.get(str(value), value)

    answer = client.post("/api/jobs", json=named(request_))
    assert answer.status_code in (400, 422), answer.text
    assert says in answer.json()["error"]
    assert str(tmp_path) not in answer.text
    assert client.get("/api/jobs").json() == []


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".apng")])
def test_an_animation_is_a_video_for_a_task_and_its_first_frame_for_a_picture(client, service, kind, suffix):
    data = pictures(kind, 5)
    sent = upload(client, data)
    assert (sent["kind"], Path(sent["id"]).suffix, sent["seconds"]) == ("animation", suffix, pytest.approx(0.5))
    assert (service.folders.uploads / sent["id"]).read_bytes() == data
    assert client.get(f"/api/uploads/{sent['id']}/picture").status_code == 200
    extended = client.post("/api/jobs", json={**EXTEND, "image": sent["id"]})
    assert extended.json()["request"]["image"] == sent["id"]
    made = client.post("/api/jobs", json={"image": {"file": sent["id"], "rotate": 90}, "motion_mask": sent["id"]})
    assert made.status_code == 201, made.text
    request = service.get(made.json()["id"]).request
    assert (request.image.file.suffix, request.image.rotate) == (".png", 90)
    assert request.motion_mask is not None
    assert request.motion_mask.file == request.image.file
    assert (load_image(request.image.file) == load_image(data)).all()
    assert upload(client, pictures(kind, 1))["kind"] == "picture"
