"""Named settings in a folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import framepack
from framepack.pipeline.preset_settings import OF_ONE_VIDEO, settings_of
from framepack.pipeline.presets import Imported, PresetExists, Presets, UnknownPreset
from framepack.spec.output import OutputSettings
from framepack.spec.parts import Lora
from framepack.spec.request import GenerationRequest

DEFAULTS = settings_of(GenerationRequest(image="-"))


@pytest.fixture
def presets(tmp_path: Path) -> Presets:
    return Presets(tmp_path / "presets")


def test_a_preset_is_whole_however_little_of_it_was_said(presets: Presets) -> None:
    presets.save("soft light", {"steps": 12, "negative_prompt": "Grüße \U0001f305", "output": {"crf": 20}})
    assert presets.names() == ["soft light"]
    kept = presets.load("soft light")
    assert kept == DEFAULTS | {
        "steps": 12,
        "negative_prompt": "Grüße \U0001f305",
        "output": DEFAULTS["output"] | {"crf": 20},
    }
    assert set(kept) == set(GenerationRequest.model_fields) - set(OF_ONE_VIDEO)
    assert {"path", "overwrite"}.isdisjoint(kept["output"])


def test_a_request_is_made_of_a_preset_and_of_what_it_says_itself(presets: Presets) -> None:
    presets.save("a", {"steps": 12, "resolution": 512, "cache": "teacache", "output": {"format": "webm", "crf": 20}})
    request = presets.apply("a", image="x.png", prompt="night falls", seed=5, steps=7)
    assert (request.steps, request.resolution, request.prompt, request.seed) == (7, 512, "night falls", 5)
    assert (request.output.format, request.output.crf) == ("webm", 20)
    own = presets.apply("a", image="x.png", width=320, height=640, cache="first-block", output={"path": "v.mp4"})
    assert (own.resolution, own.cache_threshold) == (None, 0.07), "it takes the place of what excludes it"
    assert (own.output.format, own.output.crf) == ("mp4", 20)
    with pytest.raises(UnknownPreset, match="There is no preset called b"):
        presets.apply("b", image="x.png")
    with pytest.raises(ValueError, match="preset is the name of a preset, got 3"):
        presets.resolve({"preset": 3})
    assert presets.resolve({"preset": None, "steps": 3}) == {"steps": 3}
    with pytest.raises(ValueError, match="output"):
        GenerationRequest.model_validate(presets.resolve({"preset": "a", "image": "x", "output": [1]}))


def test_the_presets_of_an_outputs_folder_are_a_public_function(tmp_path: Path) -> None:
    framepack.presets(tmp_path).save("a", GenerationRequest(image="x.png", prompt="mine", seed=9, guidance=3.5))
    assert (tmp_path / ".framepack" / "presets" / "a.json").is_file()
    again = framepack.presets(str(tmp_path)).apply("a", image="y.png")
    assert (again.guidance, again.prompt, again.seed) == (3.5, "", 31337)
    assert framepack.presets(tmp_path / "none").names() == []
    assert not (tmp_path / "none").exists(), "looking makes no folder"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompt": "x"}, "leave out prompt"),
        ({"image": "x", "seed": 3}, "leave out image, seed"),
        ({"output": {"path": "v.mp4"}}, r"leave out output\.path"),
        ({"steps": 0}, r"steps must be 1\.\.200, got 0"),
        ({"stepps": 3}, "there is no setting called stepps"),
        ({"width": 512}, "width and height go together"),
        ({"output": 3}, "output"),
        ({"loras": [{"file": "/x/a.safetensors"}]}, "a LoRA by its file's name alone"),
        ({"loras": [{"file": "..\\a.safetensors"}]}, "a LoRA by its file's name alone"),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_saved_and_when_it_is_imported(presets: Presets, settings, says) -> None:
    with pytest.raises(ValueError, match=says):
        presets.save("bad", settings)
    if not {"prompt", "image"} & settings.keys() and "path" not in str(settings):
        with pytest.raises(ValueError, match=f"The preset bad cannot be imported: .*{says}"):
            presets.take_in(json.dumps({"good": {"steps": 3}, "bad": settings}))
    assert presets.names() == []


def test_a_file_of_an_older_version_works_and_what_it_says_of_one_video_is_left_out(presets: Presets, tmp_path) -> None:
    (tmp_path / "presets").mkdir()
    old = {"prompt": "mine", "seed": 3, "image": None, "steps": 9, "output": {"crf": 20, "format": "mp4"}}
    (tmp_path / "presets" / "old.json").write_text(json.dumps(old))
    then = {"length": "sections", "seconds": 5.0, "resolution": 128}
    assert presets.load("old") == DEFAULTS | then | {"steps": 9, "output": DEFAULTS["output"] | {"crf": 20}}
    presets.take_in(json.dumps({"exported": old}))
    assert presets.load("exported") == presets.load("old")


def test_loras_are_kept_by_name_and_found_in_their_folder(presets: Presets, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / "film.safetensors").write_bytes(b"x")
    (tmp_path / "other.safetensors").write_bytes(b"y")
    for file in (folder / "film.safetensors", Path("film.safetensors")):
        presets.save("film", GenerationRequest(image="-", loras=(Lora(file=file, strength=0.5),)))
        assert presets.load("film")["loras"] == [{"file": "film.safetensors", "strength": 0.5}]
    assert presets.apply("film", image="x.png").loras[0].file == folder / "film.safetensors"
    assert presets.resolve({"preset": "film"})["loras"][0]["file"] == "film.safetensors"
    for elsewhere in (tmp_path / "other.safetensors", tmp_path / "film.safetensors"):
        with pytest.raises(ValueError, match="copy it there"):
            presets.save("film", GenerationRequest(image="-", loras=(Lora(file=elsewhere),)))
    (folder / "film.safetensors").unlink()
    with pytest.raises(ValueError, match=r"LoRA film\.safetensors is not in"):
        presets.apply("film", image="x.png")


def test_renaming_keeps_the_star_and_never_replaces_another(presets: Presets) -> None:
    presets.save("a", {"steps": 1})
    presets.save("b", {"steps": 2})
    presets.start_with("a")
    with pytest.raises(PresetExists, match="already"):
        presets.rename("a", "b")
    presets.rename("a", "c")
    assert presets.startup() == "c"
    assert presets.load("c")["steps"] == 1
    presets.delete("c")
    assert presets.startup() is None
    for change in (presets.delete, lambda name: presets.rename(name, "d")):
        with pytest.raises(UnknownPreset):
            change("c")


def test_upper_and_lower_case_make_no_other_name(presets: Presets) -> None:
    assert presets.save("Soft Light", {"steps": 1}) == "Soft Light"
    assert presets.save("soft light", {"steps": 2}) == "Soft Light"
    with pytest.raises(PresetExists):
        presets.save("SOFT LIGHT", {"steps": 3}, replace=False)
    assert (presets.names(), presets.load("soft LIGHT")["steps"]) == (["Soft Light"], 2)
    presets.save("Grün", {})
    assert presets.load("Gru\u0308n"), "an accent may be a letter of its own"
    presets.start_with("soft light")
    assert presets.rename("soft light", "soft light") == "soft light"
    assert (presets.names(), presets.startup()) == (["Grün", "soft light"], "soft light")
    with pytest.raises(ValueError, match="differ in upper and lower case"):
        presets.take_in(json.dumps({"x": {}, "X": {}}))


def test_an_export_is_what_an_import_takes(presets: Presets, tmp_path: Path) -> None:
    presets.save("a", {"steps": 1})
    presets.save("b", {"steps": 2})
    other = Presets(tmp_path / "other")
    text = json.dumps(presets.exported())
    assert other.take_in(text) == Imported(names=["a", "b"], left_out=[])
    assert other.exported() == presets.exported()
    other.save("a", {"steps": 9})
    with pytest.raises(PresetExists, match="called a, b already"):
        other.take_in(text, replace=False)
    assert other.load("a")["steps"] == 9


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 1}', "nonsense", '{"../a": {}}', "[" * 100_000])
def test_a_file_of_something_else_is_refused_and_changes_nothing(presets: Presets, text: str) -> None:
    with pytest.raises(ValueError, match="preset"):
        presets.take_in(text)
    assert presets.names() == []


NAMES = ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a\0b", "x" * 61, "a\n", "a.", "\U0001d4d0" * 60]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_leads_out_of_the_folder(presets: Presets, name: str) -> None:
    presets.save("a", {})
    uses = (presets.load, presets.delete, lambda name: presets.save(name, {}), lambda name: presets.rename("a", name))
    for use in (*uses, lambda name: presets.take_in(json.dumps({name: {}}))):
        with pytest.raises(ValueError, match=r"preset's name (begins with|may have)"):
            use(name)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"steps": 0}', b'{"stepps": 1}', b"\xff", b" " * 2**21])
def test_a_damaged_preset_is_said_and_does_not_hide_the_others(presets: Presets, tmp_path: Path, text) -> None:
    presets.save("good", {"steps": 1})
    (tmp_path / "presets" / "bad.json").write_bytes(text)
    with pytest.raises(ValueError, match="The preset bad is damaged"):
        presets.load("bad")
    assert presets.names() == ["bad", "good"]
    assert list(presets.exported()) == ["good"]
    assert list(presets.damaged()) == ["bad"]
    presets.save("bad", {"steps": 2})
    assert presets.damaged() == {}


def test_there_is_an_end_to_how_many_there_may_be(presets: Presets, monkeypatch) -> None:
    monkeypatch.setattr("framepack.pipeline.presets.MOST", 2)
    presets.save("a", {})
    presets.save("b", {})
    presets.save("b", {"steps": 3})
    with pytest.raises(ValueError, match="There may be 2 presets"):
        presets.save("c", {})


WORK = """
import sys
from framepack.pipeline.presets import PresetExists
from framepack.pipeline.presets import Presets
from framepack.pipeline.presets import UnknownPreset

presets, number = Presets(__import__("pathlib").Path(sys.argv[1])), sys.argv[2]
for turn in range(8):
    presets.save(f"own {number} {turn}", {"steps": int(number) + 1})
    try:
        presets.save("the one", {"steps": int(number) + 1}, replace=False)
        presets.rename("the one", f"won {number} {turn}")
        print(f"won {number} {turn}")
    except (PresetExists, UnknownPreset):
        pass
"""


def test_processes_that_save_and_rename_at_once_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path / "presets")]
    started = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(3)]
    won = [line for process in started for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in started] == [0, 0, 0]
    presets = Presets(tmp_path / "presets")
    names = presets.names()
    assert {f"own {number} {turn}" for number in range(3) for turn in range(8)} <= set(names)
    assert set(won) <= set(names), "one that was renamed is not renamed again, nor replaced"
    assert presets.damaged() == {}
    assert [file.name for file in (tmp_path / "presets").glob(".*.part")] == []


def test_output_of_a_request_is_shared_without_its_file(presets: Presets) -> None:
    presets.save("a", GenerationRequest(image="-", output=OutputSettings(path="x.webm", overwrite=True)))
    assert presets.load("a")["output"] == DEFAULTS["output"] | {"format": "webm"}
