"""Searches give what looking at everything gives, and the longest request that is accepted takes moments."""

import time

import pytest
from drawn import requests
from hypothesis import given

from framepack.spec.parts import FRAMES_MOST, PROMPTS_MOST, TimedPrompt
from framepack.spec.plan import cuts, plan
from framepack.spec.request import GenerationRequest
from framepack.spec.timeline import (
    DOUBTS,
    changes_of,
    image_mix,
    keyframes_of,
    prompt_at,
    tiles_of,
    unseen_keyframes,
    unused_prompts,
    views_of,
)


@given(requests())
def test_each_section_gets_the_prompt_and_the_pictures_that_looking_at_all_of_them_gives(request_: GenerationRequest):
    seconds = [index * request_.seconds / 8 for index in (5, 0, 3, 3, 7)]
    prompts = tuple(TimedPrompt(second=second, text=f"text {index}") for index, second in enumerate(seconds))
    fields = {"prompts": prompts, "prompt": "first", "consistency": 1.0, "reference": None}
    asked = request_.model_copy(update=fields)
    keyframes = keyframes_of(asked)
    for section in plan(asked):
        middle = (section.latents[0] + section.latents[-1]) / 2
        begins = section.latents.start - 1

        def text_at(latent: float) -> str:
            due = [p for p in sorted(prompts, key=lambda p: p.second) if p.second * 30 / 4 <= latent]
            return due[-1].text if due else "first"

        # to the nearest latent; half-way between two it may be either
        assert section.prompt in {text_at(begins + 0.5 - 1e-6), text_at(begins + 0.5 + 1e-6)}
        past = max((g for g in keyframes if g.latent <= middle), key=lambda g: g.latent, default=None)
        future = min((g for g in keyframes if g.latent > middle), key=lambda g: g.latent, default=None)
        assert {key for key, _ in section.image} <= {"start", *(g.key for g in (past, future) if g)}
        for guide in (past, future):
            if guide and guide.strength > 1e-3 and abs(guide.latent - middle) < 1e-9:
                assert dict(section.image)[guide.key] == pytest.approx(guide.strength)


@given(requests())
def test_a_guide_that_is_seen_by_no_section_of_the_plan_is_reported_and_no_other(request_: GenerationRequest):
    # what is seen again is no frame of the video either
    sections = plan(request_.model_copy(update={"restate": 0}))
    given_ = {span.source for section in sections for span in section.context}
    given_ |= {anchor.source for section in sections for anchor in section.before}
    told = " ".join(unseen_keyframes(request_))
    for index, frame in enumerate(request_.frames):
        assert (f"keyframe at {frame.second:g} s" in told) == (frame.strength > 0 and f"frame:{index}" not in given_)


@given(requests())
def test_cuts_are_the_plan_without_what_is_seen(request_: GenerationRequest):
    for cut, section in zip(cuts(request_), plan(request_), strict=True):
        assert vars(cut).items() <= vars(section).items()
        assert cut.latents == section.latents


def test_of_many_prompts_without_effect_a_few_are_named_and_the_rest_counted():
    prompts = tuple(TimedPrompt(second=index / 100, text=f"{index} " + "long " * 100) for index in range(100))
    used = len({round(prompt.second * 30 / 4) for prompt in prompts})
    said = unused_prompts(GenerationRequest(image="a.png", seconds=4.8, prompts=prompts))
    assert len(said) == DOUBTS + 1
    assert said[-1] == f"{100 - used - DOUBTS} more timed prompts have no effect either"
    assert all(len(sentence) < 300 for sentence in said)


def longest() -> GenerationRequest:
    return GenerationRequest(
        image="a.png",
        seconds=36000,
        prompts=[{"second": 36 * index, "text": f"text {index}"} for index in range(PROMPTS_MOST)],
        frames=[{"image": "k.png", "second": 36 * index + 1} for index in range(FRAMES_MOST)],
    )


def test_the_longest_request_is_laid_out_in_moments():
    asked = longest()
    began = time.process_time()
    tiles = tiles_of(asked)
    changes, keyframes = changes_of(asked), keyframes_of(asked)
    assert {prompt_at(asked, changes, latents) for latents in tiles} == {p.text for p in asked.prompts}
    assert sum(len(tile) for tile in tiles) == asked.latent_count - sum(g.shown for g in keyframes)
    assert len(views_of(asked, tiles)) == len(tiles)
    assert len([image_mix(keyframes, latents) for latents in tiles]) == len(tiles)
    assert time.process_time() - began < 3, "sections times prompts takes ten times as long"
