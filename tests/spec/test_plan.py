"""Properties every plan has, and the exact index layouts of the two public orders."""

from dataclasses import replace

import pytest
from drawn import MODELS, requests
from hypothesis import given
from hypothesis import strategies as st

from framepack.spec.geometry import HUNYUAN
from framepack.spec.output import OutputSettings
from framepack.spec.parts import EndFrame, Keyframe, TimedPrompt
from framepack.spec.plan import SectionPlan, delivery, final_frames, plan
from framepack.spec.request import GenerationRequest
from framepack.spec.stills import EVENNESS, LEAST_NOISE, Still, stills
from framepack.spec.timeline import keyframes_of, unseen_keyframes, unused_prompts
from framepack.spec.windows import spacing


@given(requests())
def test_every_plan_tiles_the_timeline_once(request_: GenerationRequest):
    sections = plan(request_)
    total = request_.latent_count
    shown = [g.latent for g in keyframes_of(request_) if g.shown]
    made = [i for s in sections for i in s.latents]
    assert sorted(made + shown) == list(range(1, total + 1))
    assert all(1 <= len(s.latents) <= request_.window for s in sections)


@given(requests())
def test_every_plan_delivers_each_frame_once(request_: GenerationRequest):
    total = request_.latent_count
    video = 0
    for s in plan(request_):
        assert s.overlap <= video
        video += HUNYUAN.frames_of(s.decode_latents) - s.overlap
        assert s.provisional <= video
    assert s.provisional == 0
    assert video == 4 * total + 1


@given(requests())
def test_no_section_decodes_latents_that_do_not_exist_yet(request_: GenerationRequest):
    exists = 0
    for s in plan(request_):
        exists += len(s.latents) + sum(anchor.shown for anchor in s.before + s.after)
        assert s.decode_latents <= exists
    assert exists == request_.latent_count + 1


@given(requests())
def test_history_is_always_nineteen_latents_and_the_start_is_always_seen(request_: GenerationRequest):
    for s in plan(request_):
        history = [i for span in s.context if span.source == "history" for i in span.take]
        assert sorted(history) == list(range(19)) == list(range(HUNYUAN.history))
        assert s.context[0].source == "start"  # there are no timed prompts
        assert all(len(span.take) == len(span.at) for span in s.context)


@given(requests())
def test_image_mix_weights_sum_to_one(request_: GenerationRequest):
    for s in plan(request_):
        assert sum(w for _, w in s.image) == pytest.approx(1, abs=1e-5)
        assert all(0 < w <= 1 + 1e-6 for _, w in s.image)


@given(requests())
def test_a_guide_of_strength_zero_plans_like_no_guide(request_: GenerationRequest):
    muted = [f.model_copy(update={"strength": 0.0}) for f in request_.frames]
    silent = request_.model_copy(update={"frames": tuple(muted), "end_frame": None})
    without = request_.model_copy(update={"frames": (), "end_frame": None})
    assert plan(silent) == plan(without)


def paddings(sections: tuple[SectionPlan, ...], window: int) -> list[float]:
    return [(s.at.start - 1) / window for s in sections]


@pytest.mark.parametrize(
    ("n", "expected"),
    [(1, [0]), (2, [1, 0]), (4, [3, 2, 1, 0]), (5, [3, 2, 2, 1, 0]), (8, [3, 2, 2, 2, 2, 2, 1, 0])],
)
@pytest.mark.parametrize("window", [1, 9, 33])
def test_inverted_paddings_are_the_public_ones(n: int, expected: list[int], window: int):
    request = GenerationRequest(image="a.png", model="framepack", seconds=n * window * 4 / 30, window=window)
    assert paddings(plan(request), window) == expected


@given(st.floats(0.05, 60), st.sampled_from([4, 9, 13]), MODELS)
def test_an_exact_video_lasts_as_asked_to_half_a_frame(seconds: float, window: int, model: str):
    request = GenerationRequest(image="a.png", model=model, seconds=seconds, window=window, length="exact")
    made = HUNYUAN.frames_of(sum(len(section.latents) for section in plan(request)) + 1)
    assert request.frame_count == max(round(seconds * HUNYUAN.fps), 1)
    assert made - 4 <= request.frame_count <= made
    assert made - request.frame_count <= 3 or request.frame_count == 1


def test_whole_sections_are_the_public_length():
    request = GenerationRequest(image="a.png", model="framepack", seconds=5.0)
    assert request.frame_count == 145
    assert [len(section.latents) for section in plan(request)] == [9] * 4
    assert GenerationRequest(image="a.png", seconds=5.0).frame_count == 150


@pytest.mark.parametrize("model", ["framepack", "framepack-f1"])
def test_neutral_controls_plan_like_none(model: str):
    asked = GenerationRequest(image="a.png", model=model, seconds=6)
    neutral = asked.model_copy(update={"motion": 0.0, "consistency": 1.0})
    assert plan(neutral) == plan(asked)
    assert all(span.key_scale == 1 for section in plan(asked) for span in section.context)


@pytest.mark.parametrize("model", ["framepack", "framepack-f1"])
@pytest.mark.parametrize("motion", [-1.0, -0.3, 0.5, 1.0])
def test_motion_spreads_all_indices_evenly_behind_the_start(model: str, motion: float):
    asked = GenerationRequest(image="a.png", model=model, seconds=6)
    for before, after in zip(plan(asked), plan(asked.model_copy(update={"motion": motion})), strict=True):
        spans = {span.source + str(span.scale): list(span.at) for span in before.context}
        moved = {span.source + str(span.scale): list(span.at) for span in after.context}
        assert moved["start1"] == [0]
        assert min(min(at) for key, at in moved.items() if key != "start1") > 0
        flat = sorted([*before.at, *(i for key, at in spans.items() if key != "start1" for i in at)])
        new = sorted([*after.at, *(i for key, at in moved.items() if key != "start1" for i in at)])
        steps = {round((b - a) / (j - i), 9) for a, b, i, j in zip(new, new[1:], flat, flat[1:], strict=False)}
        assert steps == {round(spacing(motion), 9)}


def test_consistency_scales_the_start_pictures_keys_and_its_share_of_the_features():
    asked = GenerationRequest(image="a.png", seconds=2.4, end_frame=EndFrame(image="e.png"))
    shares, scales = [], []
    for consistency in (0.0, 0.5, 1.0, 1.5, 2.0):
        first = plan(asked.model_copy(update={"consistency": consistency}))[0]
        shares.append(dict(first.image).get("start", 0.0))
        scales.append(first.context[0].key_scale)
        assert {span.key_scale for span in first.context[1:]} == {1.0}
    assert shares == sorted(set(shares))
    assert scales == sorted(set(scales))


def test_inverted_layout_matches_the_table():
    section = plan(GenerationRequest(image="a.png", seconds=2.4))[0]
    assert section.at == range(10, 19)
    assert [(c.source, c.take, c.at, c.scale) for c in section.context] == [
        ("start", range(1), range(1), 1),
        ("history", range(1), range(19, 20), 1),
        ("history", range(1, 3), range(20, 22), 2),
        ("history", range(3, 19), range(22, 38), 4),
    ]


def test_forward_layout_is_the_same_in_each_section():
    for section in plan(GenerationRequest(image="a.png", model="mini-f1", seconds=6)):
        assert section.at == range(20, 29)
        assert [(c.source, list(c.take), c.at, c.scale) for c in section.context] == [
            ("start", [0], range(1), 1),
            ("history", [0], range(19, 20), 1),
            ("history", [2, 1], range(17, 19), 2),
            ("history", list(range(18, 2, -1)), range(1, 17), 4),
        ]


def test_a_section_begins_right_after_an_inner_guide_and_sees_it_there():
    request = GenerationRequest(image="a.png", seconds=3.6, frames=(Keyframe(image="k.png", second=1.0),))
    right = next(s for s in plan(request) if s.latents.start == 9)
    span = next(c for c in right.context if c.source == "frame:0")
    assert span.at == range(right.at.start - 1, right.at.start)


@pytest.mark.parametrize(("model", "shown"), [("mini", True), ("framepack", False)])
def test_an_end_frame_opens_the_inverted_history_and_is_shown_where_the_model_was_not_published(
    model: str, shown: bool
):
    request = GenerationRequest(image="a.png", model=model, end_frame=EndFrame(image="e.png"))
    first = plan(request)[0]
    assert [(a.source, a.shown) for a in first.before] == [("end", shown)]
    assert first.latents[-1] == request.latent_count - shown


@pytest.mark.parametrize("second", [4.6, 4.75, 4.8])
def test_a_guide_near_the_end_and_an_end_frame_both_take_effect(second: float):
    request = GenerationRequest(
        image="a.png",
        seconds=4.8,
        frames=(Keyframe(image="k.png", second=second),),
        end_frame=EndFrame(image="e.png"),
    )
    sections = plan(request)
    near = [anchor.source for anchor in sections[0].before]
    assert near[0] == "end"
    assert "frame:0" in [*near, *(span.source for span in sections[0].context)]


@pytest.mark.parametrize("seconds", [(1.0, 1.05), (4.75, 4.8)])
def test_two_guides_on_one_place_are_refused(seconds: tuple[float, float]):
    frames = tuple(Keyframe(image="k.png", second=second) for second in seconds)
    with pytest.raises(ValueError, match=f"at {seconds[0]:g} s and {seconds[1]:g} s fall on the same place"):
        GenerationRequest(image="a.png", seconds=4.8, frames=frames)
    silent = frames[1].model_copy(update={"strength": 0.0})
    assert GenerationRequest(image="a.png", seconds=4.8, frames=(frames[0], silent))


def test_a_guide_that_no_section_is_given_is_named():
    def said(model: str, *seconds: float) -> list[str]:
        frames = tuple(Keyframe(image="k.png", second=second) for second in seconds)
        request = GenerationRequest(image="a.png", model=model, seconds=2.4, frames=frames)
        return [sentence.split(", not as")[0] for sentence in unseen_keyframes(request)]

    assert said("framepack", 0.1, 1.0) == said("mini-f1", 0.1, 0.3) == said("mini", 0.1, 1.0) == []


def test_a_prompt_that_no_section_takes_is_named():
    prompts = tuple(TimedPrompt(second=second, text=f"from {second}") for second in (1.3, 1.33, 1.5, 4.79))
    request = GenerationRequest(image="a.png", seconds=4.8, prompt="first", prompts=prompts)
    sentences = unused_prompts(request)
    assert [sentence.split(" on, ")[0] for sentence in sentences] == [
        "no section takes the prompt from 1.3 s",
        "no section takes the prompt from 4.79 s",
    ]
    assert {s.prompt for s in plan(request)} == {"first", "from 1.33", "from 1.5"}


@pytest.mark.parametrize("model", ["mini", "mini-f1", "framepack", "framepack-f1"])
def test_sections_are_cut_within_two_frames_of_a_change(model: str):
    for second in (0.5, 1.2, 2.0, 3.14):
        prompts = (TimedPrompt(second=second, text="run"),)
        request = GenerationRequest(image="a.png", model=model, prompt="walk", seconds=4.8, prompts=prompts)
        later = [s for s in plan(request) if s.prompt == "run"]
        assert abs(min(s.latents.start - 1 for s in later) * 4 - 30 * second) <= 2
        assert all(s.latents.stop <= later[-1].latents.start or s in later for s in plan(request) if model == "mini")


def test_what_a_text_holds_for_is_an_inverted_video_of_its_own_from_the_moment_it_took_over():
    texts = [{"second": 1.2, "text": "run"}, {"second": 2.4, "text": "run"}, {"second": 3.6, "text": "jump"}]
    request = GenerationRequest(image="a.png", model="framepack", prompt="walk", seconds=6, prompts=texts)
    alone = GenerationRequest(image="a.png", model="framepack", seconds=2.4)
    run = [s for s in plan(request) if s.prompt == "run"]
    for section, other in zip(run, plan(alone), strict=True):
        assert section.at == other.at
        assert section.context[0] == replace(other.context[0], source="still:9")
        assert section.context[1:] == other.context[1:]
    assert [(s.key, s.prompt, s.context[0].source, s.level) for s in stills(request)] == [
        ("still:9", "walk", "start", 1.0),
        ("still:27", "run", "still:9", 1.0),
    ]
    assert stills(request.model_copy(update={"model": "framepack-f1"})) == ()


def test_a_still_of_mini_is_the_last_latent_of_a_whole_section():
    texts = [{"second": 1.2, "text": "run"}, {"second": 1.6, "text": "jump"}]
    request = GenerationRequest(image="a.png", model="mini", prompt="walk", seconds=3.6, prompts=texts)
    (alone,) = plan(GenerationRequest(image="a.png", model="mini", seconds=1.2))
    first, second = stills(request)
    assert first.at == alone.at
    empty = tuple(replace(span, source="empty") if span.source == "history" else span for span in alone.context)
    assert first.context == empty
    assert (first.latents, first.made) == (range(9, 10), range(1, 10))
    assert (second.latents, second.made) == (range(12, 13), range(10, 13)), "no farther than its text holds"
    assert [len(one.at) for one in stills(request.model_copy(update={"model": "framepack"}))] == [1, 1]


@given(requests(), st.lists(st.floats(0.0, 1.0), max_size=4))
def test_whatever_sees_a_still_has_it_made_before(request_: GenerationRequest, shares: list[float]):
    prompts = tuple(TimedPrompt(second=share * request_.seconds, text=f"{share}") for share in shares)
    asked = request_.model_copy(update={"prompts": prompts})
    there = {"start", "history", "empty", "end", "reference", *(g.key for g in keyframes_of(asked))}
    for window in (*stills(asked), *plan(asked)):
        assert {span.source for span in window.context} <= there
        there |= {window.key} if isinstance(window, Still) else set()


def test_a_keyframe_at_a_change_is_what_follows_begins_from():
    frames = (Keyframe(image="k.png", second=1.2),)
    request = GenerationRequest(image="a.png", seconds=2.4, prompts=[{"second": 1.2, "text": "run"}], frames=frames)
    assert stills(request) == ()
    assert {s.context[0].source for s in plan(request) if s.prompt == "run"} == {"frame:0"}


@given(requests())
def test_a_keyframe_of_less_than_full_strength_is_made_as_a_still_that_does_not_see_itself(request_: GenerationRequest):
    made = stills(request_)
    partial = {g.key: g for g in keyframes_of(request_) if 1 - g.strength**EVENNESS > LEAST_NOISE}
    assert [still.key for still in made] == sorted(partial, key=lambda key: partial[key].latent)
    for still in made:
        assert LEAST_NOISE < still.level <= 1
        assert still.latents.start == partial[still.key].latent
        assert still.key not in [span.source for span in still.context]
    assert len({still.noise for still in made} | {s.noise for s in plan(request_)}) == len(made) + len(plan(request_))


def test_forward_order_sees_the_guide_right_after_the_section_before_it():
    request = GenerationRequest(
        image="a.png", model="mini-f1", seconds=3.6, frames=(Keyframe(image="k.png", second=1.0),)
    )
    before = next(s for s in plan(request) if s.latents[-1] == 7)
    span = next(c for c in before.context if c.source == "frame:0")
    assert span.at == range(before.at.stop, before.at.stop + 1)


def test_a_timed_prompt_holds_from_its_second_on():
    request = GenerationRequest(
        image="a.png", prompt="walk", seconds=3.6, prompts=(TimedPrompt(second=1.2, text="run"),)
    )
    by_time = sorted(plan(request), key=lambda s: s.latents.start)
    assert [s.prompt for s in by_time] == ["walk", "run", "run"]


@given(requests())
def test_every_frame_of_the_video_settles_exactly_once(request_: GenerationRequest):
    sections = plan(request_)
    total = request_.latent_count
    frames = [f for settled in final_frames(sections) for f in settled]
    assert sorted(frames) == list(range(4 * total + 1))


def test_what_is_reported_beforehand_counts_the_files_own_frames() -> None:
    request = GenerationRequest(image="a.png", seconds=0.4, output={"fps": 24})
    assert delivery(request) == "0.42 s · 10 frames at 24 a second · 1 section"
    assert (
        delivery(request.model_copy(update={"seconds": 0.03, "output": OutputSettings()}))
        == "0.03 s · 1 frame · 1 section"
    )


def test_mini_stands_still_where_neither_a_picture_ahead_nor_a_lora_knows_better():
    def still(**fields: object) -> list[bool]:
        return [
            s.still
            for s in sorted(plan(GenerationRequest(image="a.png", seconds=4.8, **fields)), key=lambda s: s.latents[0])
        ]

    assert still(model="mini") == still(model="mini-f1") == [True] * 4
    assert still(model="framepack") == [False] * 4
    assert still(model="mini", end_frame={"image": "b.png"}) == [False] * 4
    ahead = still(model="mini", frames=[{"image": "b.png", "second": 2.0}])
    assert ahead == sorted(ahead)
    assert set(ahead) == {False, True}
    assert still(model="mini", loras=[{"file": "wave.safetensors"}]) == [False] * 4
