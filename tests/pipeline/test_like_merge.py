"""Settings of a file with others in their place: `merge`."""

from framepack.pipeline.like import merge
from framepack.spec.request import GenerationRequest


def test_one_finishing_step_takes_the_place_of_that_step_alone() -> None:
    merged = merge({"image": "a.png", "finish": {"sharpen": 0.3, "grain": 0.2}}, {"finish": {"grain": 0.1}})
    assert merged["finish"] == {"sharpen": 0.3, "grain": 0.1}


def test_a_still_becomes_a_video_where_a_videos_file_is_named() -> None:
    still = GenerationRequest.model_validate({"image": "a.png", "model": "mini", "still": {}}).to_store()
    assert merge(still, {"seed": 7})["still"] is not None
    for changes in ({"output": {"path": "v.mp4"}}, {"still": None}):
        video = GenerationRequest.model_validate(merge(still, changes))
        assert (video.still, video.output.format) == (None, "mp4")
