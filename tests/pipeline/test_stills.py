"""One frame in place of a video, and a storyboard of such frames."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import request_of

from framepack import FramePack, GenerationRequest
from framepack.media.inspection import inspect_file
from framepack.pipeline.engine import SectionResult
from framepack.spec.events import Finished
from framepack.spec.ignored import ignored_settings
from framepack.spec.plan import cuts, plan
from framepack.spec.storyboard import storyboard

Models = dict[str, FramePack]
ORDERS = pytest.mark.parametrize("model", ["mini", "mini-f1"])


def still(model: FramePack, picture: Path, file: Path, **fields: object) -> np.ndarray:
    request = request_of(picture, file, model=model.model, **{"still": {}, **fields})
    *_, finished = model.generate(request)
    assert finished == Finished(file=file, frames=1, seconds=finished.seconds)
    assert not list(file.parent.glob("*.part*"))
    return np.asarray(Image.open(file))


@ORDERS
def test_a_still_is_a_png_that_says_how_it_was_made(
    model: str, framepacks: Models, picture: Path, tmp_path: Path
) -> None:
    made = still(framepacks[model], picture, tmp_path / "a.png", prompt="night", still={"index": 5})
    assert made.shape == (32, 32, 3)
    assert made.std() > 1
    found = inspect_file(tmp_path / "a.png")
    assert found.request
    assert found.request["still"] == {"index": 5, "at": None, "context": True}
    assert found.request["prompt"] == "night"


@ORDERS
def test_index_seconds_and_context_have_an_effect(
    model: str, framepacks: Models, picture: Path, tmp_path: Path
) -> None:
    def latent(**one: object) -> torch.Tensor:
        request = request_of(picture, tmp_path / "a.png", model=model, still=one)
        (made,) = [event for event in framepacks[model].sections(request) if isinstance(event, SectionResult)]
        return made.latents

    usual = latent()
    assert torch.equal(usual, latent(index=3)), "without an index it is the window, 3 here"
    assert torch.equal(latent(index=8), latent(at=1.0)), "the eighth latent is shown at 1 s"
    assert not torch.equal(latent(index=8), usual)
    assert not torch.equal(latent(context=False), usual)


def test_a_still_of_mini_is_to_the_bit_the_end_of_the_video_that_ends_there(framepacks: Models, picture: Path) -> None:
    def latents(ending: str, **fields: object) -> torch.Tensor:
        request = request_of(picture, Path(f"a.{ending}"), prompt="night", **fields)
        (made,) = [event for event in framepacks["mini"].sections(request) if isinstance(event, SectionResult)]
        return made.latents

    whole = latents("mkv", seconds=0.4)
    assert whole.shape[2] == 3
    assert torch.equal(latents("png", still={}), whole[:, :, -1:])


def test_without_a_still_a_plan_is_as_before(picture: Path, tmp_path: Path) -> None:
    request = request_of(picture, tmp_path / "v.mkv")
    assert request.still is None
    assert len(plan(request)) == len(cuts(request)) == 3
    assert len(plan(request_of(picture, tmp_path / "v.png", still={}))) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"still": {"index": 1, "at": 2}}, "either the index or the second"),
        ({"still": {}, "output": {"format": "mp4"}}, "leave output.format mp4 out"),
        ({"still": {}, "end_frame": {"image": "b.png"}}, "leave end_frame out"),
        ({"still": {}, "prompts": [{"second": 0.1, "text": "b"}]}, "must begin within|leave prompts out"),
        ({"output": {"path": "a.png"}}, "a .png holds one frame"),
        ({"still": {}, "output": {"path": "a.zip"}}, "a still is one picture, got 'a.zip': name a .png"),
        ({"still": {"index": 0}}, r"index must be 1\.\.1000"),
    ],
)
def test_what_a_still_cannot_be_is_refused_in_a_sentence(fields: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GenerationRequest.model_validate({"image": "a.png", "model": "mini", **fields})


def test_a_storyboard_has_a_picture_at_each_border_that_has_none() -> None:
    request = GenerationRequest.model_validate(
        {
            "image": "a.png",
            "model": "mini",
            "seconds": 4.8,
            "prompt": "day",
            "prompts": [{"second": 2, "text": "night"}],
        }
    )
    panels = storyboard(request)
    assert [one.second for one in panels] == [0.933, 2.0, 2.933, 3.867, 4.8]
    assert [one.request.prompt for one in panels] == ["day", "day", "night", "night", "night"]
    assert [one.request.still.index for one in panels if one.request.still] == [7, 15, 22, 29, 36]
    through = [{"image": "b.png", "second": one.second} for one in panels]
    whole = GenerationRequest.model_validate({**request.model_dump(), "frames": through})
    assert {s.latents.start for s in plan(whole)} == {s.latents.start for s in plan(request)}
    with pytest.raises(ValueError, match="has a picture already"):
        storyboard(whole)
    with pytest.raises(ValueError, match="framepack-f1 takes no keyframes"):
        storyboard(request.model_copy(update={"model": "framepack-f1"}))


@ORDERS
def test_a_still_sees_the_reference_and_stands_still_where_nothing_is_known(model: str) -> None:
    asked = {"image": "a.png", "model": model, "prompt": "xyzzy", "still": {}}
    (alone,) = plan(GenerationRequest.model_validate(asked))
    (beside,) = plan(GenerationRequest.model_validate({**asked, "reference": {"image": "r.png", "strength": 0.5}}))
    assert "reference" not in {span.source for span in alone.context}
    assert "reference" in {span.source for span in beside.context}
    assert alone.still
    far = GenerationRequest.model_validate({**asked, "still": {"at": 3600}})
    assert plan(far) == plan(GenerationRequest.model_validate({**asked, "still": {"index": 4 * far.window}}))


def test_a_still_is_one_picture_at_any_rate_and_says_what_it_leaves_out(
    framepacks: Models, picture: Path, tmp_path: Path
) -> None:
    settings = {"path": tmp_path / "a.png", "fps": 60, "speed": 0.5}
    asked = {"image": picture, "model": "mini", "steps": 1, "width": 32, "height": 32, "still": {}, "output": settings}
    request = GenerationRequest.model_validate({**asked, "finish": {"sharpen": 0.5}})
    *_, finished = framepacks["mini"].generate(request)
    assert finished == Finished(file=tmp_path / "a.png", frames=1, seconds=finished.seconds)
    assert Image.open(tmp_path / "a.png").size == (32, 32)
    said = " ".join(ignored_settings(request))
    assert all(name in said for name in ("output.fps 60", "output.speed 0.5", "finish.sharpen 0.5"))
