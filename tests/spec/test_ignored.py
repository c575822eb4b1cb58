"""Settings without effect are reported, and those with one are not."""

from pathlib import Path

import pytest

from framepack.spec.ignored import ignored_settings
from framepack.spec.parts import THRESHOLDS
from framepack.spec.request import GenerationRequest


def said_of(**fields: object) -> list[str]:
    usual = {"image": "a.png", "prompt": "a walk", "model": "framepack", "length": "exact"}
    request = GenerationRequest.model_validate({**usual, **fields})
    return ignored_settings(request)


CASES = [
    ({"negative_prompt": "blurry"}, {"cfg": 3}, "negative_prompt blurry has no effect"),
    ({"negative_prompt": "blurry", "seed": 1}, {"nag": 5}, "negative_prompt blurry has no effect"),
    ({"guidance_mode": "apg"}, {"cfg": 3}, "guidance_mode apg has no effect: it says how cfg guides"),
    ({"nag": 5, "nag_alpha": 0}, {"nag_alpha": 0.25}, "nag 5.0 has no effect: a nag_alpha of 0 leaves it out"),
    ({"nag_alpha": 0.25}, {"nag": 5}, "nag_alpha 0.25 has no effect: nag is 1"),
    ({"nag_tau": 2.5}, {"nag": 5}, "nag_tau 2.5 has no effect: nag is 1"),
    ({"nag_end": 0.5}, {"nag": 5}, "nag_end 0.5 has no effect: nag is 1"),
    ({"guard": 1, "seconds": 1.5}, {"seconds": 20}, "guard 1.0 has no effect: the first two sections"),
    ({"cfg_rescale": 0.5}, {"cfg": 3}, "cfg_rescale 0.5 has no effect"),
    ({"cache_threshold": 0.3}, {"cache": "teacache"}, "cache_threshold 0.3 has no effect: there is no cache"),
    ({"cache": "teacache", "cache_threshold": 0}, {"cache_threshold": 0.1}, "cache teacache has no effect"),
    ({"cache": "first-block", "steps": 2}, {"steps": 3}, "cache first-block has no effect"),
    ({"sampler": "euler", "steps": 2}, {"steps": 3}, "sampler euler has no effect"),
    ({"output": {"crf": 20, "format": "mkv"}}, {"output": {"crf": 20}}, "output.crf 20 has no effect: mkv"),
    ({"output": {"overwrite": True}}, {"output": {"overwrite": True, "path": "a.mp4"}}, "output.overwrite True"),
    ({"prompts": [{"second": 0, "text": "a run"}]}, {"prompts": []}, "prompt 'a walk' has no effect"),
    (
        {"prompts": [{"second": 4, "text": "a"}, {"second": 4, "text": "b"}]},
        {"prompts": [{"second": 1.5, "text": "a"}, {"second": 4, "text": "b"}]},
        "no section takes the prompt from 4 s on, 'a'",
    ),
]


@pytest.mark.parametrize(("ignored", "used", "words"), CASES)
def test_each_value_without_effect_is_one_sentence_and_none_where_it_has_one(ignored, used, words):
    (said,) = said_of(**ignored)
    assert said.startswith(words)
    assert len(said) < 300
    assert said_of(**{**ignored, **used}) == []


def test_a_plain_request_has_no_ignored_settings():
    assert said_of() == []


def test_a_long_value_is_shortened_and_one_with_braces_is_shown_as_it_is():
    (said,) = said_of(negative_prompt="{0} {r.nothing} " * 40)
    assert said.startswith("negative_prompt '{0} {r.nothing}")
    assert len(said) < 300


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"seconds": 5}, "a long video drifts"),
        ({"prompts": [{"second": 1, "text": "b"}]}, None),
        ({}, None),
    ],
)
def test_what_is_better_made_from_its_start_on_is_reported(asked, words):
    said = said_of(model="mini", **asked)
    assert [words in sentence and "mini-f1" in sentence for sentence in said] == ([True] if words else [])
    assert said_of(model="mini-f1", **asked) == []
    if words:
        assert not any(
            "mini-f1" in sentence for sentence in said_of(model="mini", end_frame={"image": "b.png"}, **asked)
        )


@pytest.mark.parametrize("cache", THRESHOLDS)
@pytest.mark.parametrize("said", [{}, {"cache_threshold": None}])
def test_a_threshold_that_nobody_names_is_the_caches_own(cache, said):
    request = GenerationRequest.model_validate({"image": "a.png", "cache": cache, **said})
    assert request.cache_threshold == THRESHOLDS[cache]
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request
    named = GenerationRequest(image=Path("a.png"), cache=cache, cache_threshold=0.4)
    assert named.cache_threshold == 0.4


@pytest.mark.parametrize("cache", ["magic", ["none"], None, 3])
def test_a_cache_that_is_none_is_refused_as_before(cache):
    with pytest.raises(ValueError, match="cache"):
        GenerationRequest.model_validate({"image": "a.png", "cache": cache})


def test_a_cfg_that_burns_a_model_is_reported():
    assert said_of(model="mini", cfg=1.5) == []
    assert said_of(model="mini", cfg=3) == ["cfg 3 burns the picture of mini: up to 1.5 is safe, 1 is best"]
    assert said_of(model="framepack", cfg=3) == []


def test_a_focus_without_a_crop_is_reported():
    assert said_of(image={"file": "a.png", "focus": [0.1, 0.1]}) == []
    (said,) = said_of(image={"file": "a.png", "focus": [0.1, 0.1], "fit": "pad"})
    assert said == "focus of the picture 'start' has no effect: fit pad shows all of it"
