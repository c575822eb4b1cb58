"""One preset on all surfaces: saved in Python, by a command, over HTTP or on the page, it makes the same request."""

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

import framepack
from framepack.app.cli import main as cli
from framepack.app.ui.controller import Controller
from framepack.app.ui.form import defaults, request_of
from framepack.media.sheet import save_png
from framepack.pipeline.preset_settings import OF_ONE_FILE, OF_ONE_MACHINE, OF_ONE_VIDEO, settings_of
from framepack.spec.fields import fields_of
from framepack.spec.request import GenerationRequest

LOOK = {
    "model": "mini-f1", "steps": 12, "guidance": 3.5, "cache": "first-block", "resolution": 256, "seconds": 3.5,
    "negative_prompt": "blurry", "cfg": 2.5, "loras": [{"file": "film.safetensors", "strength": 0.5}],
    "output": {"format": "webm", "crf": 20, "mark": False},
}  # fmt: skip
OWN = {"prompt": "night falls", "seed": 7}


@pytest.fixture
def outputs(service, monkeypatch) -> Path:
    monkeypatch.setenv("FRAMEPACK_OUTPUTS", str(service.folders.outputs))
    (service.folders.home / "loras" / "film.safetensors").write_bytes(b"x")
    return service.folders.outputs


@pytest.fixture
def picture(client) -> str:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(out, "PNG")
    return client.post("/api/uploads", files={"file": ("me.png", out.getvalue())}).json()[0]["id"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return int(exited.value.code or 0)


@pytest.fixture
def plan(monkeypatch, outputs):
    """Call it with options of `plan` for the request they make."""
    planned: list[GenerationRequest] = []
    monkeypatch.setattr("framepack.app.cli.plan.run", lambda request, *_: planned.append(request) or 0)

    def make(*options: object) -> GenerationRequest:
        assert run(monkeypatch, "plan", *options) == 0
        return planned.pop()

    return make


SAVERS = ("python", "command", "http", "page")


def keep(surface: str, client, service, monkeypatch) -> None:
    """Save LOOK as "soft light"."""
    if surface == "python":
        framepack.presets(service.folders.outputs).save("soft light", LOOK)
    elif surface == "command":
        options = ["--model", "mini-f1", "--steps", 12, "--guidance", 3.5, "--cache", "first-block", "--cfg", 2.5]
        options += ["--resolution", 256, "--seconds", 3.5, "--negative", "blurry", "--lora", "film.safetensors:0.5"]
        options += ["--format", "webm", "--crf", 20, "--no-mark"]
        assert run(monkeypatch, "presets", "save", "soft light", *options) == 0
    elif surface == "http":
        answer = client.put("/api/presets/soft light", json=LOOK)
        assert (answer.status_code, answer.json()["name"]) == (200, "soft light"), answer.text
    else:
        flat = {key: value for key, value in LOOK.items() if key != "output"} | {"resolution": "256"}
        flat |= {f"output.{key}": value for key, value in LOOK["output"].items()}
        values = defaults() | flat | {"cache_threshold": 0.07, "prompt": "mine", "seed": "3"}
        Controller(service, service.presets).preset_action("save", {"name": "soft light"}, values)


@pytest.mark.parametrize("surface", SAVERS)
def test_saved_anywhere_it_makes_the_same_request_everywhere(
    surface, client, service, picture, plan, outputs, monkeypatch
) -> None:
    keep(surface, client, service, monkeypatch)
    file = service.folders.uploads / picture
    wanted = framepack.presets(outputs).apply("soft light", image=file, **OWN).resolved()
    assert settings_of(wanted)["output"] == settings_of(GenerationRequest(image=file))["output"] | LOOK["output"]
    assert (wanted.steps, wanted.cache_threshold, wanted.loras[0].strength) == (12, 0.07, 0.5)
    made = {"command": plan(file, "--preset", "soft light", "-p", OWN["prompt"], "--seed", OWN["seed"]).resolved()}
    job = client.post("/api/jobs", json={"image": picture, "preset": "soft light", **OWN})
    assert job.status_code == 201, job.text
    made["http"] = service.get(job.json()["id"]).request
    controller = Controller(service, service.presets)
    loaded = controller.preset_action("load", {"name": "soft light"}, defaults()).values
    values = defaults() | loaded | {"image": picture, "prompt": OWN["prompt"], "seed": str(OWN["seed"])}
    made["page"] = request_of(values, service.folders).resolved()
    assert made == dict.fromkeys(made, wanted)


def test_options_hold_before_the_preset_and_the_preset_before_the_defaults(plan, outputs, tmp_path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    framepack.presets(outputs).save("mine", {"steps": 12, "resolution": 256, "output": {"crf": 30, "fps": 24}})
    asked = plan(tmp_path / "x.png", "--preset", "mine", "--steps", 25, "--width", 64, "--height", 64, "--crf", 16)
    assert (asked.steps, asked.resolution, asked.width) == (25, None, 64), "an option that says the default is one"
    assert (asked.output.crf, asked.output.fps) == (16, 24)
    assert plan(tmp_path / "x.png", "--preset", "MINE").steps == 12


def test_a_preset_stands_between_a_video_and_the_options(plan, outputs, tmp_path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    made = GenerationRequest(image=tmp_path / "x.png", prompt="night falls", seed=9, steps=40, guidance=5)
    metadata = json.dumps({"framepack": "0.1.0", "request": made.without_folders().model_dump(mode="json")})
    save_png(tmp_path / "v.png", framepack.media.image.load_image(tmp_path / "x.png"), metadata)
    framepack.presets(outputs).save("mine", {"steps": 12})
    asked = plan("--like", tmp_path / "v.png", "--preset", "mine", "--guidance", 7)
    assert (asked.prompt, asked.seed, asked.steps, asked.guidance) == ("night falls", 9, 12, 7)


def test_batches_of_the_command_line_begin_with_a_preset(outputs, tmp_path, monkeypatch, capsys) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    for name, steps in (("soft", 3), ("hard", 4)):
        framepack.presets(outputs).save(name, {"steps": steps, "model": "mini-f1", "seconds": 2})
    (tmp_path / "b.jsonl").write_text('{"image": "x.png", "seconds": 1.5}\n{"image": "x.png", "preset": "hard"}')
    assert run(monkeypatch, "batch", tmp_path / "b.jsonl", "--preset", "soft", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "line 1: mini-f1, 1.5 s" in said
    assert "line 2: mini-f1, 2 s" in said
    assert run(monkeypatch, "batch", tmp_path / "b.jsonl", "--grid", "preset=soft,none", "--dry-run") == 2
    assert "b.jsonl, line 1, preset=none: There is no preset called none" in capsys.readouterr().err


def test_the_command_shows_renames_exports_imports_and_deletes(outputs, tmp_path, monkeypatch, capsys) -> None:
    def told(*arguments: object, code: int = 0) -> str:
        assert run(monkeypatch, "presets", *arguments) == code
        said = capsys.readouterr()
        return (said.err if code else said.out).strip()

    assert told("list") == "no presets"
    assert told("save", "a", "--steps", 9) == "saved as a"
    assert "called a already" in (said := told("save", "A", "--steps", 8, code=2))
    assert "--overwrite" in said
    assert told("save", "A", "--preset", "a", "--guidance", 4, "--overwrite") == "saved as a"
    shown = json.loads(told("show", "a"))
    assert (shown["steps"], shown["guidance"]) == (9, 4)
    assert told("rename", "a", "b") == "a is now called b"
    (outputs / ".framepack" / "presets" / "bad.json").write_text("{")
    framepack.presets(outputs).start_with("b")
    assert told("list") == "* b\n  bad  (damaged)"
    assert "left out: The preset bad is damaged" in told("export", tmp_path / "all.json", code=1)
    assert list(json.loads((tmp_path / "all.json").read_text())) == ["b"]
    assert told("export", tmp_path / "all.json", code=2).startswith(f"framepack: {tmp_path / 'all.json'} is there")
    assert told("rename", "bad", "worse") == "bad is now called worse"
    assert told("delete", "worse") == "worse is deleted"
    assert list(json.loads(told("export", "-"))) == ["b"]
    assert told("export", tmp_path / "all.json", "--overwrite") == f"1 preset in {tmp_path / 'all.json'}"
    assert "--overwrite" in told("import", tmp_path / "all.json", code=2)
    assert told("import", tmp_path / "all.json", "--overwrite") == "imported b"
    assert told("import", tmp_path / "all.json", "--outputs", tmp_path / "other") == "imported b"
    assert told("show", "b", "--outputs", tmp_path / "other") == json.dumps(shown, indent=1)
    assert told("delete", "b") == "b is deleted"
    assert told("delete", "b", code=2) == "framepack: There is no preset called b: none is saved yet."
    (tmp_path / "old.json").write_text('{"c": {"steps": 3, "prompt": "rain", "seed": 1}}')
    assert run(monkeypatch, "presets", "import", tmp_path / "old.json") == 0
    assert capsys.readouterr().err == "note: prompt, seed left out: a preset has none\n"
    for content, says in {b'{"c": {}, "c": {}}': "'c' is given twice", b"\xff\xfe{": "is not text in UTF-8"}.items():
        (tmp_path / "old.json").write_bytes(content)
        assert says in told("import", tmp_path / "old.json", code=2)
    assert f"there is no file {tmp_path / 'no.json'}" in told("import", tmp_path / "no.json", code=2)
    assert "steps must be 1..200, got 0" in told("save", "c", "--steps", 0, code=2)
    assert "copy it there" in told("save", "c", "--lora", "elsewhere.safetensors", code=2)


def test_save_has_an_option_for_every_setting_that_a_preset_keeps() -> None:
    options = {name for one in get_command(cli.app).commands["presets"].commands["save"].params for name in one.opts}
    left_out = {*OF_ONE_VIDEO, *(f"output.{name}" for name in OF_ONE_FILE)}
    left_out |= {f"finish.{name}" for name in OF_ONE_MACHINE}
    for field in fields_of(GenerationRequest):
        assert field.name == "output.overwrite" or (set(field.options or ("none",)) <= options) == (
            field.name not in left_out
        )
    assert {"--prompt", "--seed", "--frame", "--work", "--device", "--output"}.isdisjoint(options)


def test_a_preset_is_made_of_a_video_that_is_liked(outputs, tmp_path, monkeypatch) -> None:
    made = GenerationRequest(image="gone.png", prompt="night falls", seed=9, steps=40)
    metadata = json.dumps({"framepack": "0.1.0", "request": made.model_dump(mode="json")})
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    save_png(tmp_path / "v.png", framepack.media.image.load_image(tmp_path / "x.png"), metadata)
    assert run(monkeypatch, "presets", "save", "liked", "--like", tmp_path / "v.png", "--fps", 24) == 0
    kept = framepack.presets(outputs).load("liked")
    assert (kept["steps"], kept["output"]["fps"]) == (40, 24)


# Over HTTP


def test_presets_over_http(client, service, outputs) -> None:
    assert client.get("/api/presets").json() == []
    assert client.put("/api/presets/soft light", json={"steps": 9}).json()["settings"]["steps"] == 9
    shown = client.get("/api/presets/soft light").json()
    assert client.put("/api/presets/copy", json=shown).status_code == 200, "what is shown can be kept again"
    (service.folders.home / "presets" / "bad.json").write_text("{")
    listed = {view["name"]: view for view in client.get("/api/presets").json()}
    assert [view["settings"] is None for view in listed.values()] == [True, False, False]
    assert "The preset bad is damaged" in listed["bad"]["error"]
    assert client.get("/api/presets/bad").status_code == 400
    assert client.post("/api/presets/copy/rename", json={"name": "other"}).json()["name"] == "other"
    exported = client.get("/api/export/presets").json()
    assert list(exported) == ["other", "soft light"]
    assert client.delete("/api/presets/other").status_code == 204
    taken = client.post("/api/import/presets", json=exported).json()
    assert taken == {"names": ["other", "soft light"], "left_out": []}
    assert client.get("/api/presets/other").json() == shown


@pytest.mark.parametrize(
    ("method", "address", "body", "status", "says"),
    [
        ("GET", "/api/presets/none", None, 404, "There is no preset called none"),
        ("DELETE", "/api/presets/none", None, 404, "There is no preset called none"),
        ("GET", "/api/presets/a%5Cb", None, 400, "name begins with a letter"),
        ("PUT", "/api/presets/..", {}, 404, ""),
        ("PUT", "/api/presets/x", {"steps": 0}, 422, "steps must be 1..200, got 0"),
        ("PUT", "/api/presets/x", {"prompt": "a"}, 400, "leave out prompt"),
        ("PUT", "/api/presets/x", [1], 400, "no object"),
        ("POST", "/api/presets/a/rename", {"name": "B"}, 409, "There is a preset called b already"),
        ("POST", "/api/presets/a/rename", {"name": "../b"}, 400, "name begins with a letter"),
        ("POST", "/api/import/presets", {"x": {"steps": 0}}, 400, "The preset x cannot be imported"),
        ("POST", "/api/jobs", {"image": "x.png", "preset": "none"}, 404, "There is no preset called none"),
        ("POST", "/api/jobs", {"image": "x.png", "preset": 3}, 400, "preset is the name of a preset, got 3"),
        ("POST", "/api/jobs", {"image": "x.png", "preset": "lora"}, 400, "there is no LoRA called 'gone.safetensors'"),
    ],
)
def test_what_cannot_be_is_a_sentence(client, method, address, body, status, says) -> None:
    for name, settings in (("a", {}), ("b", {}), ("lora", {"loras": [{"file": "gone.safetensors"}]})):
        assert client.put(f"/api/presets/{name}", json=settings).status_code == 200
    answer = client.request(method, address, json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]
    assert [view["name"] for view in client.get("/api/presets").json()] == ["a", "b", "lora"]


def test_a_form_and_an_edit_may_name_a_preset_and_the_stored_request_is_whole(client, service, picture) -> None:
    client.put("/api/presets/soft", json={"steps": 9, "model": "mini-f1"})
    file = service.folders.uploads / picture
    asked = {"request": json.dumps({"preset": "soft", "guidance": 4})}
    job = client.post("/api/jobs", data=asked, files={"image": file.read_bytes()}).json()
    assert (job["request"]["steps"], job["request"]["guidance"], job["request"]["length"]) == (9, 4, "exact")
    client.put("/api/presets/soft", json={"steps": 3})
    assert client.get(f"/api/jobs/{job['id']}").json()["request"]["steps"] == 9, "what was accepted stays"
    assert "preset" not in client.get(f"/api/jobs/{job['id']}").json()["request"]
    edited = client.put(f"/api/jobs/{job['id']}", json={"image": picture, "preset": "soft"}).json()
    assert edited["request"]["steps"] == 3
    schema = client.get("/api/openapi.json").json()["components"]["schemas"]["GenerationRequest"]
    assert "preset" in schema["properties"]
