"""kill -9 in every kind of job, on a tiny checkpoint: taken up again, it ends with the bits of an undisturbed one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import make

from framepack import FramePack, GenerationRequest
from framepack.media.image import load_image
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.takes import redo
from framepack.spec.storyboard import storyboard

SIDE, SOURCE = 32, 40
STEPS = 12
KINDS = {
    "image, inverted": {"model": "mini"},
    "image, forward": {"model": "mini-f1", "guard": 1},
    "mask": {"model": "mini", "motion_mask": "mask.png"},
    "timed prompts and a keyframe": {
        "model": "mini",
        "prompt": "pan left [0.4s: zoom in]",
        "frames": [{"image": "other.png", "second": 0.6, "strength": 0.5}],
        "length": "exact",
    },
    "extend": {"model": "mini-f1", "task": "extend", "image": "clip.mkv"},
    "lead_in": {"model": "mini", "task": "lead_in", "image": "clip.mkv"},
    "bridge": {"model": "mini", "task": "bridge", "image": "clip.mkv", "target": "clip.mkv"},
    "loop": {"model": "mini", "task": "loop"},
    "restyle": {"model": "mini-f1", "task": "restyle", "image": "clip.mkv", "strength": 0.6},
    "finish": {"model": "mini-f1", "finish": {"enlarge": 4, "grain": 0.2, "denoise": 0.5, "deflicker": 5}},
}
"""Fields of a request of each kind; files are those of `files`."""
CHILD = """
import json, sys
from framepack import FramePack, GenerationRequest
from framepack.spec.events import SectionDone, StageStarted, StepDone
model, models, request, work = sys.argv[1:]
request = GenerationRequest.stored(json.loads(request))
with FramePack.load(model, models_dir=models, dtype="float32", device="cpu") as pack:
    for event in pack.generate(request, work=work):
        if isinstance(event, StepDone):
            print("step", event.section, event.step, flush=True)
        if isinstance(event, StageStarted):
            print("stage", event.stage, flush=True)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of pictures, a mask and a clip."""
    random = np.random.default_rng(0)
    for name in ("picture", "other"):
        Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / f"{name}.png")
    white = np.zeros((SIDE, SIDE, 3), np.uint8)
    white[:, : SIDE // 2] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    ramp = random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    with VideoWriter(tmp_path / "clip.mkv", size=(SIDE, SIDE)) as writer:
        writer.write(np.stack([np.roll(ramp, number, axis=1) for number in range(SOURCE)]))
    return tmp_path


def request_of(files: Path, fields: dict) -> GenerationRequest:
    usual = {"image": "picture.png", "prompt": "a boat", "seconds": 1.2, "window": 3, "steps": STEPS}
    output = {"path": files / "video.mkv", "format": "mkv", "overwrite": True}
    said = usual | {"width": SIDE, "height": SIDE, "length": "sections", "output": output} | fields
    for name in ("image", "target", "motion_mask"):
        said |= {name: files / said[name]} if name in said else {}
    said["frames"] = [frame | {"image": files / frame["image"]} for frame in said.get("frames", [])]
    return GenerationRequest.model_validate(said)


def frames(request: GenerationRequest) -> np.ndarray:
    file = request.output.path
    assert file is not None
    return load_image(file)[None] if file.suffix == ".png" else np.stack(list(read_video(file)))


def killed(request: GenerationRequest, models: Path, work: Path, at: str) -> None:
    """Make the video in a child process, and kill that once it says `at`."""
    words = [sys.executable, "-c", CHILD, request.model, str(models), json.dumps(request.to_store()), str(work)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert any(line.strip() == at for line in child.stdout), f"it never said {at!r}"
        child.kill()
    assert child.returncode < 0


def same(framepack: FramePack, request: GenerationRequest, shaken: Path, calm: Path) -> None:
    """The killed work, gone on with to the end, and another made in one go: the same latents, and the same frames."""
    found = make(framepack, request, shaken)
    shown = frames(request)
    request.output.path.unlink()
    expected = make(framepack, request, calm)
    assert len(found) == len(expected) > 0
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))
    assert np.array_equal(shown, frames(request))


@pytest.mark.proof
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_killed_job_of_every_kind_ends_with_the_bits_of_an_undisturbed_one(
    framepacks, tiny_models_dir, files, kind: str
) -> None:
    request, work = request_of(files, KINDS[kind]), files / "shaken"
    killed(request, tiny_models_dir, work, "stage finish" if kind == "finish" else "step 1 3")
    assert list(work.glob("section-*.safetensors")), "it is taken up again after the first section"
    same(framepacks[request.model], request, work, files / "calm")


@pytest.mark.proof
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("model", ["mini", "mini-f1"])
def test_a_killed_take_ends_with_the_bits_of_an_undisturbed_one(framepacks, tiny_models_dir, files, model) -> None:
    request = request_of(files, {"model": model})
    make(framepacks[model], request, files / "first")
    take = redo(files / "first", files / "shaken", 2, seed=9)
    assert take == redo(files / "first", files / "calm", 2, seed=9)
    take = take.model_copy(update={"output": request.output})
    killed(take, tiny_models_dir, files / "shaken", "step 1 3")
    same(framepacks[model], take, files / "shaken", files / "calm")


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_a_killed_panel_of_a_storyboard_is_made_anew_to_the_bit(framepacks, tiny_models_dir, files) -> None:
    panel = storyboard(request_of(files, {"model": "mini"}))[1].request
    output = {"path": files / "panel.png", "format": "png", "overwrite": True}
    still = GenerationRequest.model_validate(panel.model_dump() | {"output": output})
    killed(still, tiny_models_dir, files / "shaken", "step 0 3")
    same(framepacks["mini"], still, files / "shaken", files / "calm")
