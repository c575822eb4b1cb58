"""Plans of every task: each latent and each frame once; what does not go together is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepack.spec.ends import LEAST
from framepack.spec.geometry import HUNYUAN
from framepack.spec.ignored import ignored_settings
from framepack.spec.parts import EndFrame, Keyframe, TimedPrompt
from framepack.spec.plan import final_frames, new_tiles, plan
from framepack.spec.redo import redone, section_count
from framepack.spec.request import GenerationRequest
from framepack.spec.stills import stills
from framepack.spec.tasks import TASKS
from framepack.spec.timeline import is_backward, keyframes_of
from framepack.spec.variants import VARIANTS
from framepack.spec.windows import EMPTY, NEIGHBOUR

MODELS = {
    "image": ("mini", "mini-f1", "framepack", "framepack-f1"),
    "extend": ("mini", "mini-f1", "framepack", "framepack-f1"),
    "lead_in": ("mini", "framepack"),
    "bridge": ("mini", "framepack"),
    "loop": ("mini", "framepack"),
    "restyle": ("mini", "mini-f1", "framepack", "framepack-f1"),
}


@st.composite
def asked(draw: st.DrawFn, task: str) -> GenerationRequest:
    model = draw(st.sampled_from(MODELS[task]))
    later = model != "framepack-f1" and not TASKS[task].ends
    inverted = model in ("mini", "framepack")
    ends = later and (draw(st.booleans()) or (task == "extend" and inverted))
    seconds = draw(st.floats(0.5 if ends else 0.1, 20))  # an end frame may be one of the frames, and not all of them
    frames = ()
    if model != "framepack-f1" and seconds > 1 and draw(st.booleans()):
        frames = (Keyframe(image="k.png", second=draw(st.floats(0.3, 0.6))),)
    tenths = draw(st.sets(st.integers(1, 6), max_size=3)) if seconds > 1 else ()
    return GenerationRequest(
        image="a.mkv",
        task=task,
        model=model,
        target="b.mkv" if task == "bridge" else None,
        seconds=seconds,
        window=draw(st.integers(1, 20)),
        length=draw(st.sampled_from(["exact", "sections"])) if not frames else "exact",
        frames=frames,
        end_frame=EndFrame(image="e.png") if ends else None,
        motion_mask=None if task == "bridge" else draw(st.none() | st.just("m.png")),
        motion=draw(st.sampled_from([0.0, 0.7])),
        prompts=tuple(TimedPrompt(second=seconds * tenth / 10, text=f"{tenth}") for tenth in sorted(tenths)),
        blend=draw(st.sampled_from([0.0, seconds / 20])),
    )


@st.composite
def taken(draw: st.DrawFn, task: str) -> GenerationRequest:
    """A take of a take of a video of the task."""
    request = draw(asked(task))
    for _ in range(draw(st.integers(1, 2))):
        section, only = draw(st.integers(1, section_count(request))), draw(st.booleans())
        later = VARIANTS[request.model].keyframes_ahead or is_backward(request)
        request = redone(request, section, only=only and later, prompt=draw(st.none() | st.just("it rains")))
    return request


@pytest.mark.parametrize("kind", [asked, taken])
@pytest.mark.parametrize("task", list(TASKS))
def test_three_hundred_plans_of_every_task_and_of_its_takes_tile_the_timeline_once(task: str, kind) -> None:
    @settings(max_examples=300)
    @given(kind(task))
    def holds(request: GenerationRequest) -> None:
        sections = plan(request)
        shown = [g.latent for g in keyframes_of(request) if g.shown]
        assert sorted([*shown, *(i for s in sections for i in s.latents)]) == list(range(1, request.latent_count + 1))
        frames = sorted(i for settled in final_frames(sections) for i in settled)
        assert frames == list(range(sum(s.frames for s in sections)))
        assert 0 <= len(frames) - request.frame_count < 4
        assert len(frames) == 4 * request.latent_count + TASKS[task].more
        for s in sections:
            clip = HUNYUAN.frames_of(s.decode_latents) - sum(s.dropped)
            assert clip == s.frames + s.overlap
            assert s.provisional <= clip
            known = {"history", "start", "before", "section:0", NEIGHBOUR} | {still.key for still in stills(request)}
            assert {span.source for span in s.context} <= known | set(request.pictures)
        assert all(tiles for tiles in new_tiles(sections, HUNYUAN.tiles))

    holds()


@settings(max_examples=300, deadline=None)
@given(asked("image"), st.integers(1, 60), st.booleans())
def test_three_hundred_stills_are_one_latent_of_the_video(
    request: GenerationRequest, index: int, context: bool
) -> None:
    said = request.model_dump() | {
        "frames": (),
        "end_frame": None,
        "prompts": (),
        "motion_mask": None,
        "output": {},
        "blend": 0,
    }
    still = GenerationRequest.model_validate(said | {"still": {"index": index, "context": context}})
    (section,) = plan(still)
    assert len(section.latents) == 1
    assert still.frame_count == 1
    assert {span.source for span in section.context} <= {"history", "start", EMPTY}


@pytest.mark.parametrize("task", ["extend", "bridge"])
def test_what_goes_on_from_a_video_decodes_its_tail_beside_the_new_part(task: str) -> None:
    target = {"target": "b.mkv"} if task == "bridge" else {}
    sections = plan(GenerationRequest(image="a.mkv", task=task, seconds=3, **target))
    beside = sections[0] if task == "extend" else sections[-1]
    assert (1 - beside.first, beside.dropped[0], beside.meets[0]) == (LEAST, 13, "before")


def test_a_lead_in_never_comes_near_what_stands_for_its_start() -> None:
    sections = plan(GenerationRequest(image="a.mkv", task="lead_in", model="mini", seconds=8))
    assert all(section.at[0] > 2 * 9 for section in sections)


def test_a_loops_first_section_sees_its_last_one_before_the_start() -> None:
    first = plan(GenerationRequest(image="a.png", task="loop", model="mini", seconds=3))[-1]
    around = next(span for span in first.context if span.source == "section:0")
    assert list(around.at) == [-2, -1]
    assert [anchor.source for anchor in first.after] == ["start", "section:0"]


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"task": "extend"}, "mini-f1"),
        ({"task": "extend", "end_frame": {"image": "e.png"}}, "mini"),
        ({"task": "lead_in", "seconds": 9}, "mini"),
        ({"task": "bridge", "target": "b.mp4", "seconds": 9}, "mini"),
        ({"task": "loop", "seconds": 9}, "mini"),
    ],
)
def test_a_task_has_the_model_that_makes_it_where_nobody_names_one(fields: dict, model: str) -> None:
    assert GenerationRequest.model_validate({"image": "a.mp4", **fields}).model == model


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"task": "bridge"}, "give the target"),
        ({"target": "b.png"}, "use task bridge"),
        ({"task": "loop", "end_frame": {"image": "e.png"}}, "ends on its start, so it has no end frame"),
        ({"task": "bridge", "target": "b.png", "end_frame": {"image": "e.png"}}, "has no end frame"),
        ({"task": "extend", "model": "mini"}, "give one, or use model mini-f1"),
        ({"task": "extend", "model": "framepack"}, "give one, or use model framepack-f1"),
        ({"task": "loop", "model": "framepack-f1"}, "use model framepack"),
        ({"task": "bridge", "target": "b.png", "model": "mini-f1"}, "use model mini"),
        ({"task": "restyle", "strength": 0}, r"strength must be 0.05..1"),
        ({"task": "film"}, "task must be one of image, extend"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(fields: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GenerationRequest.model_validate({"image": "a.mkv", **fields})


def test_a_strength_that_nothing_uses_is_named() -> None:
    said = ignored_settings(GenerationRequest(image="a.png", strength=0.3))
    assert any(sentence.startswith("strength 0.3 has no effect") for sentence in said)
    assert not ignored_settings(GenerationRequest(image="a.mkv", task="restyle", strength=0.3))
