"""A request with steps on its final frames: none are bit-identical to no field, others equal finishing the file."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import latents, request_of
from safetensors.torch import save_file

from framepack.files.errors import MediaError
from framepack.media.marks import is_marked
from framepack.media.metadata import read_metadata
from framepack.media.read import probe, read_video
from framepack.models.upscaler import RRDBNet
from framepack.pipeline.finishing import finish
from framepack.pipeline.section_store import decisive
from framepack.spec.events import Finished, SectionDone, StageStarted, StepDone
from framepack.spec.ignored import ignored_settings
from framepack.spec.output import OutputSettings
from framepack.spec.request import GenerationRequest

STEPS = {"enlarge": 1.5, "sharpen": 0.4, "contrast": 1.2, "grain": 0.2}


def frames(file: Path) -> np.ndarray:
    return np.stack(list(read_video(file, whole=True)))


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_steps_that_say_nothing_are_no_steps_to_the_bit(framepacks, picture, tmp_path, model) -> None:
    for name, finish_ in (("a", {}), ("b", {"finish": {"contrast": 1.0, "enlarge": 1}})):
        request = request_of(picture, tmp_path / "v.mp4", model=model, **finish_)
        list(framepacks[model].generate(request))
        (tmp_path / "v.mp4").rename(tmp_path / f"{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_request_s_steps_are_those_on_its_lossless_video_encoded_once(framepacks, picture, tmp_path, model) -> None:
    lossless = request_of(picture, tmp_path / "plain.mkv", model=model)
    list(framepacks[model].generate(lossless))
    want = frames(finish(tmp_path / "plain.mkv", tmp_path / "want.mkv", **STEPS))
    request = request_of(picture, tmp_path / "v.mkv", model=model, finish=STEPS)
    events = list(framepacks[model].generate(request))
    assert isinstance(events[-1], Finished)
    assert events[-1].frames == len(want) == request.frame_count
    assert (frames(tmp_path / "v.mkv") == want).all()
    assert not (tmp_path / "v.part.mkv").exists()
    found = read_metadata(tmp_path / "v.mkv")
    assert found is not None
    assert GenerationRequest.stored(found["request"]).finish == request.finish
    assert is_marked(tmp_path / "v.mkv")


def test_an_mp4_waits_lossless_and_is_encoded_once_as_finishing_the_lossless_file(
    framepacks, picture, tmp_path
) -> None:
    list(framepacks["mini"].generate(request_of(picture, tmp_path / "plain.mkv")))
    finish(tmp_path / "plain.mkv", tmp_path / "want.mp4", **STEPS)
    events = list(framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", finish=STEPS)))
    done = [event for event in events if isinstance(event, SectionDone)]
    assert {event.file.suffix for event in done if event.file} == {".mkv"}
    assert (frames(tmp_path / "v.mp4") == frames(tmp_path / "want.mp4")).all()
    assert probe(tmp_path / "v.mp4").width == 48


KILLED = """
import sys
import framepack
request = framepack.GenerationRequest.model_validate_json(sys.argv[1])
with framepack.load("mini", device="cpu") as model:
    for _ in model.generate(request, work=sys.argv[2]):
        pass
"""


@pytest.mark.proof
def test_a_job_that_is_killed_while_it_is_finished_goes_on_with_that_and_is_never_half(
    framepacks, picture, tmp_path
) -> None:
    steps = {**STEPS, "enlarge": 4, "denoise": 1}
    request = request_of(picture, tmp_path / "v.mkv", finish=steps, width=64, height=64)
    command = [sys.executable, "-c", KILLED, request.model_dump_json(), str(tmp_path / "work")]
    with subprocess.Popen(command) as child:
        while not (begun := [one for one in tmp_path.glob(".v.mkv.*.part") if one.stat().st_size > 20_000]):
            assert child.poll() is None, "it was finished before it could be killed"
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert (begun[0].exists(), (tmp_path / "v.mkv").exists()) == (True, False)
    before = latents(tmp_path / "work")
    events = list(framepacks["mini"].generate(request, work=tmp_path / "work"))
    assert not any(isinstance(event, StepDone) for event in events)
    assert isinstance(events[-1], Finished)
    assert all(torch.equal(a, b) for a, b in zip(latents(tmp_path / "work"), before, strict=True))
    unkilled = request.model_copy(update={"output": whole(request, tmp_path / "w.mkv")})
    subprocess.run([*command[:3], unkilled.model_dump_json(), str(tmp_path / "other")], check=True)
    assert (frames(tmp_path / "v.mkv") == frames(tmp_path / "w.mkv")).all()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["other", "v.mkv", "w.mkv", "work"]


def whole(request: GenerationRequest, path: Path) -> OutputSettings:
    """The same file elsewhere."""
    return request.output.model_copy(update={"path": path})


def test_a_job_that_is_cancelled_while_it_is_finished_leaves_no_file_and_goes_on(framepacks, picture, tmp_path) -> None:
    request, work = request_of(picture, tmp_path / "v.mkv", finish=STEPS), tmp_path / "work"
    run = framepacks["mini"].generate(request, work=work)
    for event in run:
        if isinstance(event, StageStarted) and event.stage == "finish":
            break
    run.close()
    assert not (tmp_path / "v.mkv").exists()
    before = [tensor.clone() for tensor in latents(work)]
    events = list(framepacks["mini"].generate(request, work=work))
    assert not any(isinstance(event, StageStarted) and event.stage == "section" for event in events)
    assert all(torch.equal(a, b) for a, b in zip(before, latents(work), strict=True))
    assert len(frames(tmp_path / "v.mkv")) == request.frame_count


def test_other_steps_use_the_same_finished_sections(framepacks, picture, tmp_path) -> None:
    work, plain = tmp_path / "work", request_of(picture, tmp_path / "v.mp4")
    list(framepacks["mini"].generate(plain, work=work))
    finished = request_of(picture, tmp_path / "v.mp4", finish={"enlarge": 2})
    assert decisive(plain) == decisive(finished)
    events = list(framepacks["mini"].generate(finished, work=work))
    assert not any(isinstance(event, StageStarted) and event.stage == "section" for event in events)
    assert probe(tmp_path / "v.mp4").width == 64


def test_a_network_and_a_sound_take_part_and_memory_is_given_back(framepacks, picture, tmp_path) -> None:
    import wave

    with wave.open(str(tmp_path / "t.wav"), "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(48000)
        sound.writeframes(np.zeros(2 * 48000, "<i2").tobytes())
    torch.manual_seed(0)
    save_file(RRDBNet(channels=8, growth=4, blocks=1).state_dict(), tmp_path / "n.safetensors")
    steps = {"enlarge": 4, "network": tmp_path / "n.safetensors", "audio": tmp_path / "t.wav"}
    list(framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", finish=steps)))
    assert (probe(tmp_path / "v.mp4").width, probe(tmp_path / "v.mp4").height) == (128, 128)
    assert "upscaler" not in framepacks["mini"].memory.report().modules
    assert str(tmp_path) not in json.dumps(read_metadata(tmp_path / "v.mp4"))


def test_what_cannot_be_is_refused_before_any_work(framepacks, picture, tmp_path) -> None:
    for steps, why in (
        ({"audio": "no.wav"}, "no such file"),
        ({"lut": "no.cube"}, "no such file"),
        ({"enlarge": 2, "network": "no.safetensors"}, "no such file"),
        ({"audio": picture}, "is no sound"),
    ):
        run = framepacks["mini"].generate(request_of(picture, tmp_path / "v.mp4", finish=steps))
        with pytest.raises(MediaError, match=why):
            list(run)
    with pytest.raises(ValueError, match="gif has no sound"):
        GenerationRequest(image=picture, finish={"audio": "a.wav"}, output={"format": "gif"})
    with pytest.raises(ValueError, match="there is no setting called finish"):
        GenerationRequest(image=picture, finish={"join": ["a.mp4"]})
    assert not list(tmp_path.glob("v*"))


def test_a_step_without_effect_is_named(picture) -> None:
    said = ignored_settings(GenerationRequest(image=picture, finish={"network": "n.safetensors", "deflicker": 1}))
    assert any("finish.network" in line for line in said)
    assert any("finish.deflicker" in line for line in said)


def test_requests_from_before_there_were_steps_are_read(picture) -> None:
    stored = GenerationRequest(image=picture).to_store()
    stored.pop("finish")
    assert not GenerationRequest.stored(stored).finish.changes


def test_a_request_s_file_is_signed_when_that_is_asked_for(framepacks, picture, tmp_path, monkeypatch) -> None:
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    from framepack.media.credentials import read_credentials
    from framepack.media.signing_key import FOLDER

    monkeypatch.setenv(FOLDER, str(tmp_path / "identity"))
    list(framepacks["mini"].generate(request_of(picture, tmp_path / "plain.mp4")))
    asked = request_of(picture, tmp_path / "v.mp4")
    signed = asked.model_copy(update={"output": asked.output.model_copy(update={"sign": True})})
    list(framepacks["mini"].generate(signed))
    found = read_credentials(tmp_path / "v.mp4")
    assert found is not None
    assert found["validation_state"] == "Valid"
    assert (frames(tmp_path / "v.mp4") == frames(tmp_path / "plain.mp4")).all()
    assert read_credentials(tmp_path / "plain.mp4") is None
    for output, why in (
        ({"format": "png", "path": str(tmp_path / "pictures")}, "a folder has no content credentials"),
        ({"mark": False}, "leave one of the two out"),
    ):
        with pytest.raises(ValueError, match=why):
            GenerationRequest(image=picture, output={**output, "sign": True})
