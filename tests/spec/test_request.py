"""The request is lossless as JSON and refuses with the value, the bound and the way out."""

import json
import math
import time

import pytest

from framepack.spec.geometry import HUNYUAN
from framepack.spec.model import RequestError
from framepack.spec.output import OutputSettings
from framepack.spec.parts import EndFrame, Keyframe, TimedPrompt
from framepack.spec.request import GenerationRequest
from framepack.spec.variants import VARIANTS

FULL = GenerationRequest(
    image="a b/ü.png",
    prompt="a cat 🐈",
    negative_prompt="blur",
    seconds=3.6,
    seed=2**40,
    cfg=2.5,
    cfg_rescale=0.7,
    width=96,
    height=64,
    frames=(Keyframe(image="k.png", second=1.0, strength=0.3),),
    end_frame=EndFrame(image="e.png"),
    prompts=(TimedPrompt(second=2.0, text="it rains"),),
    output=OutputSettings(path="out.mkv", format="mkv", fps=24),
)


def test_json_round_trip_loses_nothing():
    assert GenerationRequest.model_validate_json(FULL.model_dump_json()) == FULL


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seconds": math.nan}, ["seconds", "0.01..36000", "nan"]),
        ({"guidance": math.inf}, ["guidance", "inf"]),
        ({"window": 40}, ["window must be 1..33, got 40"]),
        ({"steps": 0}, ["steps", "1..200"]),
        ({"steps": 2.5}, ["steps", "2.5"]),
        ({"width": 100, "height": 64}, ["multiple of 16", "96 or 112"]),
        ({"width": 96}, ["go together"]),
        ({"width": 96, "height": 64, "resolution": 512}, ["not both"]),
        ({"resolution": 100}, ["multiple of 16"]),
        ({"output": {"format": "gif", "fps": 60}}, ["gif shows 1..50 frames a second, got fps 60"]),
        ({"resolution": 32}, ["multiple of 16 in 64..2048, got 32", "try 64"]),
        ({"resolution": 4096}, ["in 64..2048", "try 2048"]),
        ({"model": "sora"}, ["model must be one of", "framepack-f1"]),
        ({"sampler": "ddim"}, ["sampler", "unipc"]),
        ({"stepz": 3}, ["no setting called stepz"]),
        ({"frames": [{"image": "k.png", "second": 60}]}, ["60 s", "lengthen"]),
        ({"frames": [{"image": "k.png", "second": 0}]}, ["after 0"]),
        ({"end_frame": {"image": "e.png", "strength": 2}}, ["strength must be 0..1, got 2"]),
        ({"model": "framepack-f1", "end_frame": {"image": "e.png"}}, ["use model framepack"]),
        ({"prompts": [{"second": 60, "text": "x"}]}, ["timed prompt"]),
        ({"output": {"crf": 0}}, ["crf must be 1..51"]),
        ({"output": {"path": 5}}, ["output.path", "5"]),
        (
            {"output": {"path": "a/v.avi"}},
            ["'.avi' of 'v.avi'", "use one of .mp4, .mkv, .webm, .mov, .gif, .webp, .apng, .zip"],
        ),
    ],
)
def test_a_bad_value_is_explained_in_one_sentence(fields: dict, words: list[str]):
    with pytest.raises(RequestError) as caught:
        GenerationRequest.model_validate({"image": "a.png", **fields})
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"loras": [{"file": "x"}] * 20_000}, "loras may have 100 entries, got 20000"),
        ({"loras": [{"flie": "x"}] * 20_000}, "loras may have 100 entries, got 20000"),
        ({"frames": [{"image": "k.png", "second": 1}] * 20_000}, "frames may have 1000 entries, got 20000"),
        ({"prompts": [{"second": 1, "text": "x"}] * 20_000}, "prompts may have 1000 entries, got 20000"),
        ({"prompt": "x" * 900_000}, "prompt may have 10000 characters, got 900000"),
        ({"negative_prompt": "x" * 900_000}, "negative_prompt may have 10000 characters, got 900000"),
        ({"prompts": [{"second": 1, "text": "x" * 900_000}]}, "text may have 10000 characters"),
        ({"prompts": [{"second": 1, "text": "x" * 9000}] * 100}, "all prompts together may have 100000 characters"),
        ({"image": "x" * 900_000}, "file may have 4096 characters"),
        ({"model": "x" * 900_000}, "model must be one of"),
        ({"output": {"path": "a." + "x" * 900_000}}, "no video format has the suffix"),
        ({f"x{index}": index for index in range(100_000)}, "remove them, such as 'x0'"),
        ({"frames": [{f"x{index}": 1 for index in range(50)}] * 1000}, "remove them, such as 'x0'"),
        ({"x" * 900_000: 1}, "there is no setting called xxx"),
        ({"cfg": {"x": ["x" * 900_000]}}, "cfg"),
        ({"seed": 10**4000}, "seed must be 0..9.22337e+18, got 1000"),
        ({"seconds": 36_000, "window": 1}, "a video may have 30000 sections, 36000 s in windows of 1 are 270000"),
    ],
)
def test_what_is_far_too_much_is_refused_at_once_and_briefly(fields: dict, words: str):
    began = time.process_time()
    with pytest.raises(RequestError) as caught:
        GenerationRequest.model_validate({"image": "a.png", **fields})
    sentence = str(caught.value)
    assert time.process_time() - began < 1
    assert words in sentence
    assert len(sentence) < 300


def test_what_a_long_film_needs_is_accepted_and_fits_into_a_files_metadata():
    frames = [{"image": f"{index:0250}.png", "second": 36 * index + 1} for index in range(1000)]
    prompts = [{"second": 36 * index, "text": "ü" * 100} for index in range(1000)]
    request = GenerationRequest(image="a.png", seconds=36_000, frames=frames, prompts=prompts)
    assert len(request.model_dump_json().encode()) < 1_000_000


def test_an_empty_prompt_is_allowed():
    assert GenerationRequest(image="a.png").prompt == ""


def test_a_muted_end_frame_is_accepted_by_the_forward_checkpoint():
    GenerationRequest(image="a.png", model="framepack-f1", end_frame=EndFrame(image="e.png", strength=0))


@pytest.mark.parametrize(("path", "format_"), [("v.mkv", "mkv"), ("v.ZIP", "png"), ("v", "mp4"), (None, "mp4")])
def test_the_format_follows_the_suffix(path: str | None, format_: str):
    assert OutputSettings.model_validate({"path": path}).format == format_


def test_settings_that_were_stored_before_there_was_a_length_are_whole_sections():
    assert GenerationRequest.stored({"image": "a.png", "seconds": 5}).frame_count == 145
    assert GenerationRequest.stored({"image": "a.png", "seconds": 5, "length": "exact"}).frame_count == 150


@pytest.mark.parametrize(("model", "length"), [("mini", "exact"), ("framepack", "sections")])
def test_a_resolved_request_says_what_its_model_decides(model: str, length: str):
    asked = GenerationRequest(image="a.png", model=model)
    assert asked.length is None
    assert asked.resolved().length == length
    assert asked.resolved().frame_count == asked.frame_count
    assert asked.resolved().resolved() == asked.resolved()


@pytest.mark.parametrize("fps", [1, 10, 12, 23.976, 24, 25, 29.97, 30, 50, 60, 120])
def test_an_exact_length_is_the_nearest_there_is_at_every_rate(fps: float):
    for hundredths in range(1, 700, 7):
        seconds = hundredths / 100
        request = GenerationRequest(image="a.png", seconds=seconds, length="exact", output={"fps": fps})
        nearest = (
            max(round(seconds * fps), 1) / fps
            if fps <= HUNYUAN.fps
            else max(round(seconds * HUNYUAN.fps), 1) / HUNYUAN.fps
        )
        assert abs(request.delivered_frames / fps - nearest) < (1e-3 if fps <= HUNYUAN.fps else 1 / fps)
        assert request.frame_count <= 4 * request.latent_count + 1


def test_true_is_no_number_and_a_format_is_the_paths():
    for fields in (
        {"steps": True},
        {"seconds": True},
        {"output": {"crf": False}},
        {"image": {"file": "a", "rotate": True}},
    ):
        with pytest.raises(RequestError, match="is neither true nor false"):
            GenerationRequest.model_validate({"image": "a.png", **fields})
    with pytest.raises(RequestError, match=r"x\.gif' is one format and 'mp4' another"):
        OutputSettings.model_validate({"path": "x.gif", "format": "mp4"})
    assert OutputSettings(path="x.zip", format="png").format == "png"


def test_what_nobody_says_is_the_models_own_and_is_stored():
    for model in VARIANTS:
        own = GenerationRequest.own(model)
        for said in ({}, dict.fromkeys(own)):
            request = GenerationRequest.model_validate({"image": "a.png", "model": model, **said})
            assert {name: getattr(request, name) for name in own} == own
            assert json.loads(request.model_dump_json())["resolution"] == own["resolution"]
            assert GenerationRequest.stored(request.model_dump(mode="json")) == request
    wide = GenerationRequest(image="a.png", width=320, height=160)
    assert (wide.resolution, wide.size) == (None, (160, 320))


@pytest.mark.parametrize(
    ("said", "model"),
    [
        ({}, "mini"),
        ({"seconds": 2.4}, "mini"),
        ({"seconds": 2.5}, "mini-f1"),
        ({"seconds": "5"}, "mini-f1"),
        ({"seconds": 5, "end_frame": {"image": "b.png"}}, "mini"),
        ({"seconds": 5, "frames": [{"image": "b.png", "second": 1}]}, "mini"),
        ({"seconds": 5, "model": "mini"}, "mini"),
        ({"prompts": [{"second": 1, "text": "night falls"}]}, "mini"),
    ],
)
def test_without_a_model_its_length_and_pictures_decide(said: dict, model: str):
    assert GenerationRequest.model_validate({"image": "a.png", **said}).model == model


def test_settings_of_before_mean_what_they_meant():
    old = GenerationRequest.stored({"image": "a.png", "model": "mini", "resolution": None, "width": None})
    assert (old.resolution, old.steps, old.seconds, old.length) == (128, 25, 5.0, "sections")
    assert GenerationRequest.stored({"image": "a.png", "model": "framepack"}).resolution == 640


@pytest.mark.parametrize("fps", [8, 25, 30])
def test_a_keyframe_may_stand_at_the_end_at_any_rate_of_the_file(fps: float) -> None:
    frames = [{"image": "b.png", "second": 2.4}]
    request = GenerationRequest.model_validate(
        {"image": "a.png", "model": "mini", "seconds": 2.4, "frames": frames, "output": {"fps": fps}}
    )
    assert request.keyframe_latent(2.4) == request.latent_count
