"""Times inside a prompt become timed prompts; what is no time stays text; what contradicts itself is refused."""

import pytest

from framepack.spec.ignored import ignored_settings
from framepack.spec.parts import TimedPrompt
from framepack.spec.plan import plan
from framepack.spec.request import GenerationRequest

REFUSED = [
    ("[1s: a] and then [2s: b]", "all text but the first has to be in brackets"),
    ("[1s: a] b", "all text but the first has to be in brackets"),
    ("[1s a]", "needs a colon and a text"),
    ("[1s: a", "is not closed"),
    ("[2s-1s: a]", "must end after it begins"),
    ("[0s-2s: a] [1s: b]", "must end before 1 s"),
    ("[1s: a] [1s: b]", "begin at the same second"),
    ("[99s: a]", "must begin within the video's"),
]


def read(prompt: str, **fields: object) -> tuple[str, list[tuple[float, str]]]:
    request = GenerationRequest.model_validate({"image": "a.png", "prompt": prompt, "seconds": 4.8, **fields})
    return request.prompt, [(one.second, one.text) for one in request.prompts]


@pytest.mark.parametrize(
    ("prompt", "first", "later"),
    [
        ("[0s-2s: a b] [2s: c]", "a b", [(2.0, "c")]),
        ("a street [1.5s: it rains]", "a street", [(1.5, "it rains")]),
        ("[ 2 s - 3 s : b ] [0s: a]", "a", [(2.0, "b")]),
        ("a [1s-2s: b] [3s: c]", "a", [(1.0, "b"), (2.0, "a"), (3.0, "c")]),
        ("a [1s-2s: b]", "a", [(1.0, "b"), (2.0, "a")]),
        ("[1s: a [close-up] b]", "", [(1.0, "a [close-up] b")]),
        ("a [close-up] of 2s: b", "a [close-up] of 2s: b", []),
        ("[1sec: a]", "[1sec: a]", []),
        ("[x: 1s]", "[x: 1s]", []),
    ],
)
def test_a_time_in_brackets_is_a_timed_prompt_and_other_brackets_are_text(prompt: str, first: str, later: list):
    assert read(prompt) == (first, later)


@pytest.mark.parametrize(("prompt", "words"), REFUSED)
def test_what_contradicts_itself_is_refused_in_a_sentence(prompt: str, words: str):
    with pytest.raises(ValueError, match=words):
        read(prompt)


def test_brackets_beside_timed_prompts_are_refused():
    with pytest.raises(ValueError, match="use one of the two"):
        read("[1s: a]", prompts=[{"second": 2, "text": "b"}])


def test_both_forms_are_the_same_request_and_are_stored_alike():
    written = GenerationRequest(image="a.png", seconds=4.8, prompt="a [1.5s: b]")
    given = GenerationRequest(image="a.png", seconds=4.8, prompt="a", prompts=(TimedPrompt(second=1.5, text="b"),))
    assert written == given
    assert GenerationRequest.stored(written.to_store()) == given


def test_a_blend_longer_than_the_time_between_two_prompts_is_refused_and_one_without_prompts_is_reported():
    with pytest.raises(ValueError, match=r"blend must be at most the 0\.5 s"):
        read("[1s: a] [1.5s: b]", blend=0.6)
    assert any("blend" in said for said in ignored_settings(GenerationRequest(image="a.png", prompt="a", blend=1)))


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_blend_gives_sections_near_a_change_a_share_of_the_other_prompt(model: str):
    asked = GenerationRequest(image="a.png", model=model, seconds=6, prompt="a [2.4s: b]")
    assert all(section.blended == () for section in plan(asked))
    by_time = sorted(plan(asked.model_copy(update={"blend": 3.0})), key=lambda section: section.latents.start)
    shares = [dict(section.blended).get("b", 1 - dict(section.blended).get("a", 0.0)) for section in by_time]
    # the rise's mean over 1.2 s that begin 0, 1.2, ... s after the start, worked out by hand
    late = [
        share if section.prompt == "b" else dict(section.blended).get("b", 0.0)
        for section, share in zip(by_time, shares, strict=True)
    ]
    assert late == pytest.approx([0.0125, 0.3, 0.7, 0.9875, 1.0])
    assert by_time[0].said.alone == {("a", True, ()): pytest.approx(0.9875), ("b", True, ()): pytest.approx(0.0125)}
