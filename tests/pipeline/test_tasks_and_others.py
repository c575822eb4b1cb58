"""Tasks beside the controls that are none of the table's: takes, stills, the guard, references, finishing, rates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import latents, make, request_of
from test_source_sound import times, with_sound
from test_tasks import MODEL, NEW, Models, asked, moving, run, shown, write

from framepack import GenerationRequest
from framepack.media.read import read_video
from framepack.pipeline.takes import redo
from framepack.spec.redo import section_count


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clips") / "clip.mkv", moving(40))


def having(request: GenerationRequest, **more: object) -> GenerationRequest:
    return GenerationRequest.model_validate(request.model_dump() | more)


@pytest.mark.parametrize("task", list(MODEL))
def test_guard_reference_blended_prompts_and_a_faster_wide_file_go_with_every_task(
    framepacks: Models, clip, picture, tmp_path, task: str
) -> None:
    more = {
        "guard": 0.5,
        "reference": {"image": picture},
        "restate": 2,
        "prompts": [{"second": 0.6, "text": "pan up"}],
        "blend": 0.2,
        "output": {"path": tmp_path / "v.mkv", "codec": "ffv1-16", "speed": 2},
    }
    request = having(asked(task, clip, picture, tmp_path / "v.mkv"), **more)
    video, _ = run(framepacks, request)
    before = 40 if task in ("extend", "bridge") else 0
    assert np.array_equal(video[: before // 2], shown(clip)[:before:2])
    after = 40 if task in ("lead_in", "bridge") else 0
    first = -(-(before + NEW[task]) // 2)
    assert np.array_equal(video[first:], shown(clip)[(before + NEW[task]) % 2 :: 2][: after // 2])


def test_a_wide_file_has_the_sources_own_levels(framepacks: Models, clip, picture, tmp_path) -> None:
    request = having(
        asked("extend", clip, picture, tmp_path / "v.mkv"), output={"path": tmp_path / "v.mkv", "codec": "ffv1-16"}
    )
    run(framepacks, request)
    wide = np.stack(list(read_video(tmp_path / "v.mkv", wide=True)))
    assert np.array_equal(np.rint(wide[:40] * 65535), shown(clip).astype(np.uint32) * 257)


def test_finishing_is_done_to_all_frames_and_the_sources_sound_stays(framepacks: Models, picture, tmp_path) -> None:
    source = with_sound(tmp_path / "sound.mp4")
    finish = {"enlarge": 2}
    video, _ = run(framepacks, asked("lead_in", source, picture, tmp_path / "v.mp4", steps=1, finish=finish))
    assert video.shape == (33 + 30, 64, 64, 3)
    assert times(tmp_path / "v.mp4")[0] == pytest.approx(33 / 30, abs=0.05)


@pytest.mark.parametrize("task", list(MODEL))
def test_a_take_shares_the_other_sections_and_the_sources_frames(
    framepacks: Models, clip, picture, tmp_path, task: str
) -> None:
    request = asked(task, clip, picture, tmp_path / "a.mkv")
    model = framepacks[request.model]
    before, first = make(model, request, tmp_path / "first"), shown(tmp_path / "a.mkv")
    taken = redo(tmp_path / "first", tmp_path / "second", 2)
    output = taken.output.model_copy(update={"path": tmp_path / "b.mkv"})
    list(model.generate(taken.model_copy(update={"output": output}), work=tmp_path / "second"))
    same = [torch.equal(one, two) for one, two in zip(before, latents(tmp_path / "second"), strict=True)]
    assert same == [True, False, True]
    assert section_count(request) == 3
    second = shown(tmp_path / "b.mkv")
    assert len(second) == len(first)
    assert not np.array_equal(first, second)
    length = {"extend": 40, "bridge": 40}.get(task, 0)
    assert np.array_equal(second[:length], first[:length])


def test_a_mask_holds_what_the_guard_would_change(framepacks: Models, picture, tmp_path) -> None:
    mask = tmp_path / "black.png"
    Image.new("RGB", (8, 8), "black").save(mask)
    prompts = [{"second": 1.6, "text": "pan up"}]
    request = request_of(picture, tmp_path / "v.mkv", motion_mask=mask, guard=1, seconds=2, prompts=prompts)
    still = torch.cat(make(framepacks["mini"], request, tmp_path / "work"), 2)
    assert torch.equal(still, still[:, :, :1].expand_as(still))


def test_a_still_has_no_task(clip, tmp_path) -> None:
    with pytest.raises(ValueError, match="leave task loop out"):
        request_of(clip, tmp_path / "v.png", task="loop", still={})
