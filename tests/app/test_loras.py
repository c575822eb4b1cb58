"""LoRA files over HTTP: real ones are kept, everything else is refused by its header, nothing is loaded."""

import io
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save

from framepack.app.service import loras
from framepack.app.service.paths import lora_folder


def lora(value: float = 1.0) -> bytes:
    half = np.full((4, 8), value, np.float32)
    return save({"block.to_q.lora_A.weight": half, "block.to_q.lora_B.weight": half.T.copy()}, {"alpha": "4"})


def raw(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list, start: int, stop: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def send(client, data: bytes, name: str = "style.safetensors"):
    return client.post("/api/loras", files={"file": (name, io.BytesIO(data))})


def test_a_lora_is_kept_under_its_name_listed_used_and_deleted(client, service, tmp_path):
    answer = send(client, lora())
    assert (answer.status_code, answer.json()) == (201, [{"name": "style.safetensors", "bytes": len(lora())}])
    assert (lora_folder(service.folders) / "style.safetensors").read_bytes() == lora()
    assert send(client, lora()).json()[0]["name"] == "style.safetensors", "the same content is kept once"
    assert send(client, lora(2.0)).json()[0]["name"] == "style (2).safetensors"
    assert [one["name"] for one in client.get("/api/loras").json()] == ["style (2).safetensors", "style.safetensors"]
    picture = service.folders.uploads / "a.png"
    picture.write_bytes(b"x")
    request = {"image": "a.png", "loras": [{"file": "style.safetensors", "strength": 0.5}]}
    job = client.post("/api/jobs", json=request).json()
    assert job["request"]["loras"] == request["loras"]
    refused = client.delete("/api/loras/style.safetensors")
    assert (refused.status_code, "still needs" in refused.json()["error"]) == (409, True)
    client.post(f"/api/jobs/{job['id']}/cancel")
    assert client.delete("/api/loras/style.safetensors").status_code == 204
    assert client.delete("/api/loras/style.safetensors").status_code == 404


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_a_lora_is_as_readable_as_any_new_file(client, service, tmp_path):
    before = os.umask(0o027)
    try:
        send(client, lora())
    finally:
        os.umask(before)
    assert (lora_folder(service.folders) / "style.safetensors").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../x.safetensors", "x.safetensors"),
        ("..\\..\\y.safetensors", "y.safetensors"),
        ("<img src=x>.safetensors", "_img src_x_.safetensors"),
        ("été.bin", "été.bin.safetensors"),
        (".hidden", "hidden.safetensors"),
        ("a" * 300, "a" * 200 + ".safetensors"),
        ("\u65e5" * 300, "\u65e5" * 66 + ".safetensors"),
        ("a\u202eb.safetensors", "a_b.safetensors"),
    ],
)
def test_its_name_never_leads_out_of_the_folder(client, service, name, kept):
    before = sorted(service.folders.home.rglob("*"))
    (file,) = send(client, lora(), name).json()
    if name != "<img src=x>.safetensors":
        assert file["name"] == kept
    assert loras.find_file(file["name"], (lora_folder(service.folders),)).parent == lora_folder(service.folders)
    assert len(sorted(service.folders.home.rglob("*"))) == len(before) + 1


GOOD = entry([2], 0, 8)
BAD = {
    "empty": b"",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a pickle": b"\x80\x04\x95" + bytes(100),
    "cut short": lora()[:-10],
    "something after it": lora() + b"x",
    "header beyond the file": (10**6).to_bytes(8, "little") + b"{}" + bytes(50),
    "header of exabytes": (2**63).to_bytes(8, "little") + b"{" + bytes(50),
    "no json": raw(b"{" + bytes(20)),
    "no object": raw([1]),
    "deep": raw(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "no lora": raw({"weight": GOOD}, bytes(8)),
    "for text encoders": save({"lora_te1_q.lora_down.weight": np.ones(1), "lora_te1_q.lora_up.weight": np.ones(1)}),
    "nothing": raw({}),
    "a gap": raw({"a.lora_A.weight": entry([1], 4, 8)}, bytes(8)),
    "an overlap": raw({"a.lora_A.weight": GOOD, "b.lora_A.weight": entry([1], 4, 8)}, bytes(8)),
    "sizes disagree": raw({"a.lora_A.weight": entry([3], 0, 8)}, bytes(8)),
    "negative": raw({"a.lora_A.weight": entry([-2, -1], 0, 8)}, bytes(8)),
    "not whole": raw({"a.lora_A.weight": entry([2.0], 0, 8)}, bytes(8)),
    "huge": raw({"a.lora_A.weight": entry([2**62, 4], 0, 8)}, bytes(8)),
    "true": raw({"a.lora_A.weight": entry([True, 2], 0, 8)}, bytes(8)),
    "unknown type": raw({"a.lora_A.weight": entry([8], 0, 8, "PICKLE")}, bytes(8)),
}


def test_files_that_no_request_could_name_are_not_listed(client, service, tmp_path):
    folder = lora_folder(service.folders)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("style [v2].safetensors", "Über.safetensors", "a\nb.safetensors", ".hidden.safetensors"):
        (folder / name).write_bytes(lora())
    (tmp_path / "else.safetensors").write_bytes(lora())
    (folder / "link.safetensors").symlink_to(tmp_path / "else.safetensors")
    assert [one["name"] for one in client.get("/api/loras").json()] == ["style [v2].safetensors", "Über.safetensors"]


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_is_no_lora_is_refused_in_a_sentence_and_leaves_nothing(client, service, data):
    answer = send(client, data)
    assert 400 <= answer.status_code < 500
    assert len(answer.json()["error"]) > 20
    assert str(service.folders.home) not in answer.json()["error"]
    assert list(lora_folder(service.folders).iterdir()) == []
    assert list(service.folders.uploads.iterdir()) == []


def test_the_limit_holds_while_it_arrives(client, monkeypatch):
    monkeypatch.setattr(loras, "LORA_LIMIT", 100)
    answer = send(client, lora())
    assert answer.status_code == 413
    assert "a LoRA may have" in answer.json()["error"]
