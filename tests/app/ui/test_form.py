"""Values and requests, both ways."""

from pathlib import Path

import pytest

from framepack.app.service.paths import for_client
from framepack.app.ui.controls import CONTROLS, SERVICE_FIELDS
from framepack.app.ui.form import (
    FieldError,
    defaults,
    draft_request,
    model_default,
    request_of,
    slider_notes,
    validation_errors,
)
from framepack.app.ui.restore import restore_values
from framepack.app.ui.widget_types import Integer, Number, Slider
from framepack.jobs.folders import Folders
from framepack.spec.finish import Finish
from framepack.spec.output import OutputSettings
from framepack.spec.parts import EndFrame, Keyframe, Lora, Reference, TimedPrompt
from framepack.spec.redo import redone
from framepack.spec.request import GenerationRequest
from framepack.spec.storyboard import still_at
from framepack.spec.tasks import TASKS, Task


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "outputs", tmp_path / "home", reserve=0)
    (folders.home / "loras" / "style.safetensors").touch()
    (folders.home / "finishing" / "n.safetensors").touch()
    for name in ("a.png", "b.png", "c.png", "a.mp4"):
        (folders.uploads / name).write_bytes(b"x")
    return folders


@pytest.fixture
def everything(folders: Folders) -> GenerationRequest:
    """A request with no field at its default."""
    here = folders.uploads
    return GenerationRequest(
        image={"file": here / "a.mp4", "rotate": 90, "exposure": 0.5}, task="restyle", strength=0.4,
        motion_mask={"file": here / "b.png", "flip": "vertical"}, prompt="a", negative_prompt="b",
        model="framepack", seconds=72.5, length="exact", motion=0.4, consistency=1.5, shift=15, seed=2**63 - 1,
        steps=99, blend=0.5,
        guidance=6.25, cfg=2.5, cfg_rescale=0.3, window=7, width=640, height=608, sampler="euler", cache="teacache",
        cache_threshold=0.2, frames=(Keyframe(image=here / "b.png", second=2.5, strength=0.5),),
        end_frame=EndFrame(image=here / "c.png", strength=0.75), prompts=(TimedPrompt(second=3, text="c"),),
        reference=Reference(image=here / "b.png", strength=0.5), restate=3, guard=0.5, guidance_mode="apg", nag=5,
        nag_alpha=0.25, nag_tau=2.5, nag_end=0.5,
        loras=(Lora(file=folders.home / "loras" / "style.safetensors", strength=-0.5),),
        finish=Finish(
            deflicker=7, denoise=0.25, enlarge=2, network=folders.home / "finishing" / "n.safetensors", grain=0.1,
            sharpen=0.3, exposure=-0.5, contrast=1.1, saturation=0.9, warmth=0.2,
        ),
        output=OutputSettings(format="webm", crf=20, fps=24, live=False),
    )  # fmt: skip


def test_a_request_survives_the_form_to_the_last_bit(everything: GenerationRequest, folders: Folders) -> None:
    changed = {name for name in everything.model_fields_set if name != "output"}
    assert changed == set(GenerationRequest.model_fields) - {"output", "resolution", "target", *SERVICE_FIELDS}
    values, messages = restore_values(for_client(everything.model_dump(mode="json")), folders)
    assert messages == []
    assert request_of(values, folders) == everything


@pytest.mark.parametrize("task", TASKS)
def test_the_settings_of_every_task_open_as_what_they_are(task: Task, folders: Folders) -> None:
    here = folders.uploads
    image = here / ("a.mp4" if TASKS[task].clips else "a.png")
    request = GenerationRequest(
        image=image,
        task=task,
        target={"file": here / "b.png", "rotate": 180} if task == "bridge" else None,
        motion_mask=None if task == "bridge" else here / "c.png",
    )
    values, messages = restore_values(for_client(request.model_dump(mode="json")), folders)
    assert messages == []
    assert request_of(values, folders) == request


def test_what_another_task_used_stays_in_the_form_and_out_of_the_request(folders: Folders) -> None:
    bridge = defaults() | {"image": "a.mp4", "task": "bridge", "target": "b.png", "strength": 0.2}
    assert request_of(bridge, folders).target is not None
    assert request_of(bridge, folders).strength == defaults()["strength"]
    plain = request_of(bridge | {"image": "a.png", "task": "image"}, folders)
    assert (plain.target, plain.strength) == (None, defaults()["strength"])
    end = {"end_frame": [{"image": "b.png", "strength": 1}]}
    assert request_of(defaults() | {"image": "a.png", "task": "loop"} | end, folders).end_frame is None
    assert request_of(defaults() | {"image": "a.png"} | end, folders).end_frame is not None


@pytest.mark.parametrize(
    ("task", "image", "words"),
    [
        ("extend", "a.png", "extend needs a video, and this is an image"),
        ("restyle", {"file": "a.png", "rotate": 90}, "restyle needs a video"),
        ("image", "a.mp4", "a video from an image needs an image, and this is a video"),
        ("loop", "a.mp4", "a loop needs an image"),
        ("bridge", "a.png", None),
        ("bridge", "a.mp4", None),
    ],
)
def test_a_file_of_the_wrong_kind_is_found_at_its_field(task: Task, image: object, words: str | None) -> None:
    found = validation_errors(defaults() | {"task": task, "image": image})
    assert found == {} if words is None else words in found["image"]


def test_a_bridge_without_its_target_asks_for_it_and_a_task_names_what_it_starts_from(folders: Folders) -> None:
    with pytest.raises(FieldError, match="Add the target first") as missing:
        request_of(defaults() | {"task": "bridge", "image": "a.mp4"}, folders)
    assert missing.value.field == "target"
    with pytest.raises(FieldError, match="Add a video first"):
        request_of(defaults() | {"task": "restyle"}, folders)


def test_a_still_opens_as_the_video_that_it_is_a_frame_of(folders: Folders) -> None:
    request = still_at(GenerationRequest(image=folders.uploads / "a.png", prompt="a"), 1.2)
    values, messages = restore_values(for_client(request.model_dump(mode="json")), folders)
    assert messages == ["They made one frame: Look first makes it again, Generate makes a video with them."]
    video = request_of(values, folders)
    assert (video.still, video.output.format, video.prompt) == (None, "mp4", "a")


def test_a_take_opens_with_the_settings_of_the_first_one(folders: Folders) -> None:
    first = GenerationRequest(image=folders.uploads / "a.png")
    values, messages = restore_values(for_client(redone(first, 1, prompt="b").model_dump(mode="json")), folders)
    assert messages == ["They are those of its first take: what was made anew since is not among them."]
    assert request_of(values, folders) == first


def test_the_form_begins_with_the_requests_own_defaults_at_the_length_its_model_does_best(folders: Folders) -> None:
    image = folders.uploads / "a.png"
    assert request_of(defaults() | {"image": "a.png"}, folders) == GenerationRequest(image=image, seconds=2.4)
    assert [model_default(model, "seconds") for model in ("mini", "mini-f1", "framepack")] == [2.4, 2.4, 5.0]
    assert [model_default(model, "steps") for model in ("mini", "mini-f1", "framepack")] == [2, 2, 25]


def test_without_an_image_the_error_is_to_add_one(folders: Folders) -> None:
    with pytest.raises(ValueError, match="Add an image first"):
        request_of(defaults(), folders)
    assert validation_errors(defaults()) == {}


@pytest.mark.parametrize("name", ["../queue.sqlite", "/etc/passwd", "..", "a.png/../../x", "missing.png"])
def test_a_browser_can_name_no_file_but_uploads(folders: Folders, name: str) -> None:
    with pytest.raises(ValueError, match="upload"):
        request_of(defaults() | {"image": name}, folders)
    values, messages = restore_values(for_client(GenerationRequest(image=Path(name)).model_dump(mode="json")), folders)
    assert values["image"] is None
    assert len(messages) == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", "abc", "Seed must be a whole number, got 'abc'"),
        ("seed", "-1", "seed"),
        ("steps", 0, "steps must be"),
        ("steps", 2.5, "Steps must be a whole number, got 2.5"),
        ("steps", "1e999", "Steps must be a whole number, got '1e999'"),
        ("steps", 1e300, "Steps must be a whole number, got 1e+300"),
        ("guidance", "much", "Guidance must be a number, got 'much'"),
        ("guidance", -3, "guidance must be 0..100, got -3"),
        ("seconds", 1e300, "seconds must be"),
        ("seed", "9" * 5000, "Seed must be a whole number, got '999999999999999999999999…'"),
        ("output.fps", 1000, "fps must be"),
        ("width", 100, "multiple of 16"),
        ("frames", [{"image": "b.png", "second": "soon", "strength": 1}], "At second, keyframes 1 must be a number"),
        ("frames", [{"image": "b.png", "second": 99, "strength": 1}], "keyframe"),
        ("prompts", [{"second": "1,2,3", "text": "x"}], "From second, timed prompts 1 must be a number"),
        ("height", 512, "go together"),
    ],
)
def test_a_value_that_cannot_work_is_found_at_its_field(field: str, value: object, words: str) -> None:
    found = validation_errors(defaults() | {field: value})
    (where,) = found
    together = words in ("keyframe", "go together")
    assert where == ("" if together else field)
    assert words in found[where]


def test_everything_that_is_no_number_is_reported_at_once() -> None:
    found = validation_errors(defaults() | {"steps": "many", "output.fps": "film", "width": "w" * 90})
    assert found.keys() == {"steps", "output.fps", "width"}
    assert all(len(sentence) < 100 for sentence in found.values())


@pytest.mark.parametrize("empty", ["", None, "  "])
def test_an_empty_number_is_the_default(folders: Folders, empty: object) -> None:
    numbers = [c.field for c in CONTROLS if isinstance(c.widget, Number | Slider | Integer)]
    rows = {
        "frames": [{"image": "b.png", "second": "", "strength": ""}],
        "prompts": [{"second": "", "text": "x"}],
        "loras": [{"file": "style.safetensors", "strength": ""}],
    }
    asked = request_of(defaults() | {"image": "a.png"} | dict.fromkeys(numbers, empty) | rows, folders)
    assert asked.model_dump(exclude=set(rows)) == request_of(defaults() | {"image": "a.png"}, folders).model_dump(
        exclude=set(rows)
    )
    assert (asked.frames[0].second, asked.frames[0].strength) == (1.0, 1.0)
    assert (asked.prompts[0].second, asked.loras[0].strength) == (1.2, 1.0)
    assert draft_request(defaults() | {"model": "framepack", "seconds": ""}).seconds == 5


def test_a_number_beyond_its_slider_is_taken_and_noted() -> None:
    asked = defaults() | {"seconds": 0.5, "steps": 99, "guidance": 10, "window": ""}
    assert slider_notes(asked).keys() == {"seconds", "steps"}
    assert slider_notes(asked)["seconds"] == "This value is used. It is outside the slider's range of 1 to 60."
    assert (draft_request(asked).seconds, draft_request(asked).steps) == (0.5, 99)
    assert slider_notes(defaults()) == {}


def test_a_lora_that_is_not_here_is_reported_and_left_out_but_not_the_jobs_own(
    folders: Folders, tmp_path: Path
) -> None:
    loras = [Lora(file=Path(name)) for name in ("style.safetensors", "gone.safetensors")]
    request = for_client(GenerationRequest(image=Path("a.png"), loras=tuple(loras)).model_dump(mode="json"))
    values, messages = restore_values(request, folders)
    assert [row["file"] for row in values["loras"]] == ["style.safetensors"]
    assert messages == ["The LoRA gone.safetensors is not among those of this service. Add it again."]
    values, messages = restore_values(request, folders, [tmp_path / "gone.safetensors"])
    assert len(values["loras"]) == 2
    assert messages == []


def test_two_pictures_at_one_time_are_reported_before_anything_is_queued() -> None:
    rows = [{"image": name, "second": 1.0, "strength": 1} for name in ("b.png", "c.png")]
    assert "fall on the same place" in validation_errors(defaults() | {"frames": rows})[""]


def test_a_number_the_page_sends_as_a_float_is_whole_again() -> None:
    assert draft_request(defaults() | {"steps": 12.0}).steps == 12


def test_settings_of_no_request_are_refused_in_a_sentence(folders: Folders) -> None:
    with pytest.raises(ValueError, match="do not fit this FramePack: there is no setting called nonsense"):
        restore_values({"image": "a.png", "nonsense": 1}, folders)
