"""Over HTTP an address is refused as everywhere, and a file of the service's machine is no upload."""

import pytest

WEB = "https://example.com/a.png"


@pytest.mark.parametrize("asked", [{"image": WEB}, {"image": {"file": WEB, "fit": "pad"}}])
def test_an_address_is_refused_in_a_sentence(client, asked):
    answers = client.post("/api/jobs", json=asked), client.post("/api/batches", json={"requests": [asked]})
    for answer in answers:
        assert answer.status_code == 422
        assert "is an address, and nothing is fetched" in answer.json()["error"]


def test_a_file_of_the_machine_is_none_of_a_clients(client, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    answer = client.post("/api/jobs", json={"image": (tmp_path / "a.png").as_uri()})
    assert answer.status_code == 400
    assert "is not the name of an upload" in answer.json()["error"]


NUMBERS = ["seconds", "seed", "steps", "guidance", "cfg", "cfg_rescale", "window", "width", "height", "resolution"]
NUMBERS += ["shift", "cache_threshold", "motion", "consistency"]


def asking(value: object) -> dict[str, dict]:
    """A request for each place where a number is meant."""
    picture = {"file": "a.png"}
    asked = {name: {name: value} for name in NUMBERS}
    asked |= {f"output.{name}": {"output": {name: value}} for name in ("crf", "fps")}
    asked |= {f"image.{name}": {"image": picture | {name: value}} for name in ("exposure", "contrast", "saturation")}
    asked["image.rotate"] = {"image": picture | {"rotate": value if value != "1" else "x"}}
    asked["image.crop"] = {"image": picture | {"crop": [0, 0, value if value != "1" else "x", 1]}}
    asked["image.focus"] = {"image": picture | {"focus": [value if value != "1" else "x", 0]}}
    asked["frames.second"] = {"frames": [{"image": "a.png", "second": value}]}
    asked["frames.strength"] = {"frames": [{"image": "a.png", "second": 1, "strength": value}]}
    asked["end_frame.strength"] = {"end_frame": {"image": "a.png", "strength": value}}
    asked["prompts.second"] = {"prompts": [{"second": value, "text": "x"}]}
    return {name: {"image": "a.png", **request} for name, request in asked.items()}


@pytest.mark.parametrize("value", [True, False, "true", "1"])
@pytest.mark.parametrize("place", asking(1))
def test_a_number_is_no_text_and_neither_true_nor_false(client, place, value):
    answer = client.post("/api/jobs", json=asking(value)[place])
    assert answer.status_code in (400, 422)
    said = answer.json()["error"]
    assert place.rpartition(".")[2] in said
    assert "a.png" not in said, "its number is what is wrong, not its picture"


def test_beside_requests_too(client):
    for wrong in (True, "1"):
        answer = client.post("/api/batches", json={"requests": [{"image": "a.png"}], "preserve_gb": wrong})
        assert answer.status_code == 422
        assert "preserve_gb" in answer.json()["error"]
        assert client.post("/api/jobs/x/move", json={"place": wrong}).status_code == 422
        grid = {"requests": [{"image": "a.png"}], "grid": {"seed": [wrong]}}
        assert "seed" in client.post("/api/batches", json=grid).json()["error"]
    assert client.get("/api/jobs?limit=true").status_code == 422
    assert client.post("/api/jobs?preserve_gb=true", json={"image": "a.png"}).status_code == 422
