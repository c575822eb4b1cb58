"""Values and requests, both ways."""

from pathlib import Path

import pytest

from framepack.app.paths import for_client
from framepack.app.ui.form import defaults, draft, findings, first_length, request_of, restored
from framepack.jobs.folders import Folders
from framepack.spec.request import EndFrame, GenerationRequest, GuideFrame, Lora, OutputSettings, TimedPrompt


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    (folders.home / "loras").mkdir()
    (folders.home / "loras" / "style.safetensors").touch()
    for name in ("a.png", "b.png", "c.png"):
        (folders.uploads / name).write_bytes(b"x")
    return folders


@pytest.fixture
def everything(folders: Folders) -> GenerationRequest:
    """A request with no field at its default."""
    here = folders.uploads
    return GenerationRequest(
        image=here / "a.png", prompt="a", negative_prompt="b", model="framepack", seconds=72.5, seed=2**63 - 1,
        steps=99,
        guidance=6.25, cfg=2.5, cfg_rescale=0.3, window=7, width=640, height=608, sampler="euler", cache="teacache",
        cache_threshold=0.2, frames=(GuideFrame(image=here / "b.png", second=2.5, strength=0.5),),
        end_frame=EndFrame(image=here / "c.png", strength=0.75), prompts=(TimedPrompt(second=3, text="c"),),
        loras=(Lora(file=folders.home / "loras" / "style.safetensors", strength=-0.5),),
        output=OutputSettings(format="webm", crf=20, fps=24, live=False),
    )  # fmt: skip


def test_a_request_survives_the_form_to_the_last_bit(everything: GenerationRequest, folders: Folders) -> None:
    changed = [name for name in everything.model_fields_set if name != "output"]
    assert set(changed) == set(GenerationRequest.model_fields) - {"output", "resolution"}
    values, said = restored(for_client(everything.model_dump(mode="json")), folders)
    assert said == []
    assert request_of(values, folders) == everything


def test_the_form_begins_with_the_requests_own_defaults_at_the_length_its_model_does_best(folders: Folders) -> None:
    image = folders.uploads / "a.png"
    assert request_of(defaults() | {"image": "a.png"}, folders) == GenerationRequest(image=image, seconds=2.4)
    assert [first_length(model) for model in ("mini", "mini-f1", "framepack")] == [2.4, 2.4, 5.0]


def test_without_a_picture_the_first_thing_said_is_to_add_one(folders: Folders) -> None:
    with pytest.raises(ValueError, match="Add a picture first"):
        request_of(defaults(), folders)
    assert findings(defaults()) == {}


@pytest.mark.parametrize("name", ["../queue.sqlite", "/etc/passwd", "..", "a.png/../../x", "missing.png"])
def test_a_browser_can_name_no_file_but_uploads(folders: Folders, name: str) -> None:
    with pytest.raises(ValueError, match="upload"):
        request_of(defaults() | {"image": name}, folders)
    values, said = restored(for_client(GenerationRequest(image=Path(name)).model_dump(mode="json")), folders)
    assert values["image"] is None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", "abc", "seed"),
        ("seed", "-1", "seed"),
        ("steps", 0, "steps must be"),
        ("steps", 2.5, "steps"),
        ("output.fps", 1000, "fps must be"),
        ("width", 100, "multiple of 16"),
        ("frames", [{"image": "b.png", "second": "", "strength": 1}], "second"),
        ("frames", [{"image": "b.png", "second": 99, "strength": 1}], "guide frame"),
        ("prompts", [{"second": "", "text": "x"}], "second"),
        ("height", 512, "go together"),
    ],
)
def test_a_value_that_cannot_work_is_found_at_its_field(field: str, value: object, words: str) -> None:
    found = findings(defaults() | {field: value})
    (where,) = found
    together = words in ("guide frame", "go together")
    assert where == ("" if together else field)
    assert words in found[where]


def test_a_lora_that_is_not_here_is_told_and_left_out_but_for_the_jobs_own(folders: Folders, tmp_path: Path) -> None:
    loras = [Lora(file=Path(name)) for name in ("style.safetensors", "gone.safetensors")]
    request = for_client(GenerationRequest(image=Path("a.png"), loras=tuple(loras)).model_dump(mode="json"))
    values, said = restored(request, folders)
    assert [row["file"] for row in values["loras"]] == ["style.safetensors"]
    assert said == ["The LoRA gone.safetensors is not among those of this service: add it again."]
    values, said = restored(request, folders, [tmp_path / "gone.safetensors"])
    assert len(values["loras"]) == 2
    assert said == []


def test_two_pictures_at_one_time_are_told_before_anything_is_queued() -> None:
    rows = [{"image": name, "second": 1.0, "strength": 1} for name in ("b.png", "c.png")]
    assert "fall on the same place" in findings(defaults() | {"frames": rows})[""]


def test_a_number_the_page_sends_as_a_float_is_whole_again() -> None:
    assert draft(defaults() | {"steps": 12.0}).steps == 12


def test_settings_of_no_request_are_refused_in_a_sentence(folders: Folders) -> None:
    with pytest.raises(ValueError, match="do not fit this FramePack: there is no setting called nonsense"):
        restored({"image": "a.png", "nonsense": 1}, folders)
