"""Random requests, for properties that hold for each of them."""

from hypothesis import strategies as st

from framepack.spec.geometry import HUNYUAN
from framepack.spec.parts import EndFrame, Keyframe, Reference
from framepack.spec.request import GenerationRequest

MODELS = st.sampled_from(["mini", "mini-f1"])


@st.composite
def requests(draw: st.DrawFn) -> GenerationRequest:
    window = draw(st.integers(1, 33))
    sections = draw(st.integers(1, 12))
    length = draw(st.sampled_from(["exact", "sections"]))
    seconds = sections * window * 4 / 30 - draw(st.floats(0, 1.5)) / 30
    plain = GenerationRequest(image="a.png", seconds=seconds, window=window, length=length)
    shown, last = plain.frame_count / HUNYUAN.fps, plain.latent_count - 1

    def place(share: float) -> int:
        return min(max(HUNYUAN.latent_of_frame(round(share * shown * HUNYUAN.fps)), 1), last)

    times = draw(st.lists(st.floats(0.05, 0.99), max_size=3, unique_by=place))
    frames = [Keyframe(image="k.png", second=t * shown, strength=draw(st.floats(0, 1))) for t in times]
    frames = frames[: last // 2]  # a video has to be more than its keyframes
    end = draw(st.none() | st.builds(EndFrame, image=st.just("e.png"), strength=st.floats(0, 1)) if last else st.none())
    model = draw(MODELS)
    return GenerationRequest(
        image="a.png",
        model=model,
        seconds=seconds,
        window=window,
        length=length,
        frames=tuple(frames),
        end_frame=end,
        reference=draw(st.none() | st.builds(Reference, image=st.just("r.png"), strength=st.floats(0, 1))),
        restate=draw(st.integers(0, 4)),
        motion=draw(st.sampled_from([0.0, 0.0, -1.0, 0.7])),
        consistency=draw(st.sampled_from([1.0, 1.0, 0.0, 1.6])),
    )
