"""What can be had from a video that is there, on the command line and over HTTP: frames, facts, the video again."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from exiftool import says_made_by_ai
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from fake_generator import ask

import framepack
from framepack.app.cli import main as cli
from framepack.app.cli import models as cli_models
from framepack.app.service.sheets import make_sheet
from framepack.media.image import load_image
from framepack.media.metadata import read_metadata
from framepack.media.read import read_video
from framepack.media.video import VideoWriter
from framepack.pipeline.framepack import FramePack
from framepack.pipeline.like import CONTENTS, fingerprints, request_like
from framepack.spec.events import Finished
from framepack.spec.events_json import strip_png
from framepack.spec.request import GenerationRequest
from framepack.weights.hub import DownloadPlan
from framepack.weights.sources import ModelSource


def picture(file: Path, shade: int = 0) -> Path:
    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.roll(np.linspace(0, 255, 40 * 50 * 3).reshape(40, 50, 3), shade).astype(np.uint8)).save(file)
    return file


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["framepack", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return int(exited.value.code or 0)


def video(file: Path, request: GenerationRequest | None = None, frames: int = 10) -> Path:
    """A video that carries a request's settings as FramePack writes them."""
    metadata = None
    if request:
        shared = request.without_folders().model_dump(mode="json", exclude={"output": {"overwrite"}})
        metadata = json.dumps({"framepack": "0.1.0", "request": shared, CONTENTS: fingerprints(request)})
    file.parent.mkdir(exist_ok=True)
    with VideoWriter(file, fps=10, size=(48, 32), metadata=metadata) as writer:
        for shade in np.linspace(0, 255, frames).astype(np.uint8):
            writer.write(np.full((32, 48, 3), shade))
    return file


def test_like_makes_the_same_frames_again(tmp_path, tiny_models_dir):
    made = FramePack.load("mini", models_dir=tiny_models_dir, dtype="float32", device="cpu")
    small = {"width": 32, "height": 32, "window": 3, "steps": 2, "seconds": 0.4, "seed": 5, "guidance": 4}
    images = {"image": picture(tmp_path / "a b.png"), "end_frame": {"image": picture(tmp_path / "z.png", 999)}}
    first = GenerationRequest.model_validate(
        {**small, **images, "prompt": "a walk", "output": {"path": tmp_path / "v.mkv"}}
    )
    again = [event for event in made.generate(first) if isinstance(event, Finished)]
    for change in ({}, {"seed": 6}):
        path = tmp_path / f"again{change.get('seed', '')}.mkv"
        again += [
            event
            for event in made.generate(request_like(first.output.path, output={"path": path}, **change))
            if isinstance(event, Finished)
        ]
    frames = [np.stack(list(read_video(event.file))) for event in again]
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


def test_on_the_command_line_options_take_the_place_of_what_the_file_says(tmp_path, monkeypatch, capsys):
    request = requested(tmp_path)
    file = video(tmp_path / "v.webm", request)
    planned: list[GenerationRequest] = []
    monkeypatch.setattr("framepack.app.cli.plan.run", lambda request, *_: planned.append(request) or 0)

    def plan(*options: object) -> GenerationRequest:
        assert run(monkeypatch, "plan", "--like", file, *options) == 0
        return planned.pop()

    assert plan() == request.model_copy(update={"output": plan().output})
    assert plan().output == request_like(file).output
    assert plan().output.mark is False
    other = picture(tmp_path / "c.png")
    changed = plan(
        other, "--seed", 31337, "--then", "1:rain", "-o", "w.gif", "--fps", 20, "--mark", "--end-frame", other
    )
    assert changed == request_like(
        file,
        image=other,
        seed=31337,
        prompts=({"second": 1, "text": "rain"},),
        end_frame={"image": other},
        output={"path": "w.gif", "fps": 20, "mark": True},
    )
    (tmp_path / "a.png").unlink()
    assert run(monkeypatch, "plan", "--like", file) == 2
    assert "the picture a.png is not next to v.webm: put it there, or give its path" in capsys.readouterr().err
    assert plan(other, "--end-frame", other).image.file == other


def requested(folder: Path) -> GenerationRequest:
    return GenerationRequest.model_validate(
        {
            "image": picture(folder / "a.png"),
            "prompt": "a walk",
            "seconds": 2.4,
            "resolution": 128,
            "frames": [{"image": picture(folder / "b.png", 9), "second": 1.2, "strength": 0.25}],
            "loras": [{"file": picture(folder / "style.safetensors.png").rename(folder / "s.safetensors")}],
            "output": {"path": folder / "v.webm", "crf": 30, "fps": 25, "overwrite": True, "mark": False},
        }
    )


def test_every_field_comes_back_and_changes_take_its_place(tmp_path):
    request = requested(tmp_path)
    file = video(tmp_path / "v.webm", request)
    same = request_like(file)
    bare = request.model_copy(update={"output": same.output})
    assert same == bare
    kept = request.output.model_dump(exclude={"path", "overwrite"})
    assert same.output.model_dump(exclude={"path", "overwrite"}) == kept
    assert (same.output.path, same.output.overwrite) == (None, False)  # a new video, not the same file
    changed = request_like(file, seed=9, frames=(), output={"path": tmp_path / "w.mkv"}, width=64, height=32)
    assert (changed.seed, changed.frames, changed.resolution, changed.size) == (9, (), None, (32, 64))
    assert (changed.output.format, changed.output.crf) == ("mkv", 30)
    assert request_like(file, resolution=96).size is None
    threshold = GenerationRequest(image=request.image, cache="first-block").cache_threshold
    assert request_like(file, cache="first-block").cache_threshold == threshold != request.cache_threshold
    assert framepack.request_like is request_like


def test_a_picture_keeps_its_edits_and_another_model_has_its_own_length(tmp_path, monkeypatch):
    edits = {"rotate": 90, "fit": "blur", "crop": (0.1, 0.0, 0.9, 1.0)}
    request = GenerationRequest(image={"file": picture(tmp_path / "a.png"), **edits}, seconds=2.0, length="exact")
    file, other = video(tmp_path / "v.mkv", request), picture(tmp_path / "in" / "b.png")
    assert request_like(file).image == request.image
    planned: list[GenerationRequest] = []
    monkeypatch.setattr("framepack.app.cli.plan.run", lambda request, *_: planned.append(request) or 0)
    assert run(monkeypatch, "plan", other, "--like", file) == 0
    assert planned[0].image == request.image.model_copy(update={"file": other})
    assert run(monkeypatch, "plan", f"{other}[flip=vertical]", "--like", file) == 0
    assert (planned[1].image.flip, planned[1].image.rotate) == ("vertical", 90)
    assert run(monkeypatch, "plan", f"{other}[rotate=0,fit=crop,crop=0/0/1/1]", "--like", file) == 0
    assert (planned[2].image.rotate, planned[2].image.fit) == (0, "crop")
    assert [request_like(file, model=name).length for name in ("mini", "framepack")] == ["exact", None]


def test_pictures_are_found_beside_the_file_in_the_services_folders_here_or_where_they_are_said_to_be(
    tmp_path, monkeypatch
):
    request = requested(tmp_path / "made")
    names = ["a.png", "b.png", "s.safetensors"]
    file = video(tmp_path / "outputs" / "v.mkv", request)
    with pytest.raises(ValueError, match=r"the picture a\.png is not next to v\.mkv: put it there, or give its path"):
        request_like(file)
    given = [tmp_path / "made" / name for name in names]
    assert [request_like(file, *given).image.file, request_like(file, *given).loras[0].file] == [given[0], given[2]]
    uploads = tmp_path / "outputs" / ".framepack" / "uploads"
    uploads.mkdir(parents=True)
    for name in names[:2]:
        shutil.copy(tmp_path / "made" / name, uploads)
    monkeypatch.chdir(tmp_path / "made")
    found = request_like(file)
    assert [found.image.file, found.frames[0].image.file] == [uploads / name for name in names[:2]]
    assert found.loras[0].file.samefile(given[2])


def test_another_picture_of_the_same_name_is_refused_and_one_of_two_of_a_name_asked_for(tmp_path):
    request = requested(tmp_path)
    file = video(tmp_path / "v.mkv", request)
    picture(tmp_path / "b.png", 500)
    with pytest.raises(ValueError, match=r"b\.png is not the picture that v\.mkv was made from: give the path of that"):
        request_like(file)
    right = picture(tmp_path / "right" / "b.png", 9)
    assert request_like(file, right).frames[0].image.file == right
    two = GenerationRequest(image=right, end_frame={"image": picture(tmp_path / "b.png", 500)})
    file = video(tmp_path / "two.mkv", two)
    with pytest.raises(ValueError, match=r"was made from 2 files that are called b\.png: give their paths"):
        request_like(file)
    assert request_like(file, image=right, end_frame=two.end_frame) == two.model_copy(
        update={"output": request_like(file, image=right, end_frame=two.end_frame).output}
    )


def test_settings_come_out_of_a_single_frame_too_and_a_strangers_file_cannot_name_what_it_likes(tmp_path):
    request = requested(tmp_path)
    (still,) = framepack.extract_frames(video(tmp_path / "v.mkv", request), which=3)
    assert request_like(still).frames == request.frames
    evil = tmp_path / "evil.mkv"
    with VideoWriter(evil, size=(8, 8), metadata=json.dumps({"request": {"image": "/etc/passwd"}})) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"the picture passwd is not next to evil\.mkv"):
        request_like(evil)
    with pytest.raises(ValueError, match="carries no FramePack settings"):
        request_like(video(tmp_path / "plain.mkv"))


@pytest.mark.parametrize(
    ("options", "number"), [(["--at", 0.55], 5), (["--first"], 0), (["--last"], 9), (["--number", 3], 3)]
)
def test_extract_saves_the_frame_that_is_asked_for(tmp_path, monkeypatch, capsys, options, number):
    file = video(tmp_path / "v.mp4", GenerationRequest(image=picture(tmp_path / "a.png")))
    assert run(monkeypatch, "extract", file, *options, "-o", tmp_path / "f.png") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "f.png")
    assert np.array_equal(load_image(tmp_path / "f.png"), list(read_video(file))[number])
    assert says_made_by_ai(tmp_path / "f.png")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--at", 2.5], "lasts 1.00 s, so nothing is shown at 2.5 s"),
        (["--at", -1], "nothing is shown at -1 s"),
        (["--number", 10], "has frames 0 to 9: there is no frame 10"),
        (["--every", 0], "every must be 1"),
        ([], "say which frames with one of --at, --first, --last, --number and --every"),
        (["--first", "--last"], "say which frames with one of"),
        (["--first", "-o", "x.jpg"], "frames are saved as .png"),
    ],
)
def test_what_extract_cannot_do_is_a_sentence(tmp_path, monkeypatch, capsys, options, says):
    assert run(monkeypatch, "extract", video(tmp_path / "v.mp4"), *options) == 2
    assert says in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["v.mp4"]


def test_every_frame_goes_into_a_folder(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "extract", video(tmp_path / "v.gif"), "--every", 3, "-o", tmp_path / "new" / "f") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "f")
    names = sorted(file.name for file in (tmp_path / "new" / "f").iterdir())
    assert names == [f"frame_{number:06d}.png" for number in (0, 3, 6, 9)]


def test_inspect_tells_people_and_programs(tmp_path, monkeypatch, capsys):
    request = GenerationRequest(image=picture(tmp_path / "a.png"), prompt="a walk")
    file = video(tmp_path / "v.mp4", request)
    assert run(monkeypatch, "inspect", file) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["10 frames, 10 a second, 1.00 s", "it says that AI made it"]
    assert "  prompt: a walk" in lines
    assert run(monkeypatch, "inspect", file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["codec"], found["frames"], found["marked"], found["request"]["seed"]) == ("h264", 10, True, 31337)
    assert run(monkeypatch, "inspect", tmp_path / "none.mp4") == 2
    assert "no such file" in capsys.readouterr().err


@pytest.fixture
def done(service):
    """Makes a job that ended with a video."""

    def make(request: GenerationRequest | None = None, status: str = "done", batch: str | None = None):
        (job,) = service.store.submit([request or ask()], batch=batch)
        claimed = service.store.claims.take("w")
        file = video(service.folders.outputs / f"{job.id}.mp4", request or ask())
        return service.store.claims.finish(job.id, claimed.claim, status, outputs=[file])

    return make


def test_frames_come_over_http_as_png_with_their_mark(client, done, tmp_path):
    job = done()
    decoded = list(read_video(job.outputs[0]))
    for address, number in (("frames/7", 7), ("frames/last", 9), ("frames?at=0.31", 3)):
        answer = client.get(f"/api/jobs/{job.id}/{address}")
        assert answer.status_code == 200, answer.text
        assert (answer.headers["content-type"], answer.headers["x-frame"]) == ("image/png", str(number))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), decoded[number])
        assert read_metadata(answer.content)["frame"]["number"] == number
        (tmp_path / "f.png").write_bytes(answer.content)
        assert says_made_by_ai(tmp_path / "f.png")
    found = client.get(f"/api/jobs/{job.id}/inspect").json()
    assert (found["frames"], found["fps"], found["marked"]) == (10, "10", True)


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("frames/10", 400, "the file has frames 0 to 9: there is no frame 10"),
        ("frames/-1", 400, "there is no frame -1"),
        ("frames/x", 422, "which"),
        ("frames?at=9", 400, "the file lasts 1.00 s, so nothing is shown at 9 s"),
        ("frames?at=nan", 400, "nothing is shown at nan"),
        ("frames", 422, "at"),
    ],
)
def test_what_frames_there_are_not_is_a_sentence_over_http(client, done, address, status, says):
    answer = client.get(f"/api/jobs/{done().id}/{address}")
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert "/" not in answer.json()["error"]


def test_a_job_without_a_video_has_no_frames(client, service):
    (job,) = service.store.submit([ask()])
    for address in ("frames/0", "frames?at=0", "inspect"):
        assert client.get(f"/api/jobs/{job.id}/{address}").status_code == 404


@pytest.mark.parametrize("mark", [True, False])
def test_previews_and_contact_sheets_are_marked_as_their_requests_ask(service, done, monkeypatch, tmp_path, mark):
    request = ask()
    request = request.model_copy(update={"output": request.output.model_copy(update={"mark": mark})})
    job = done(request, batch="b")
    sheet = make_sheet(service.store, service.folders, "b")
    assert says_made_by_ai(sheet) == mark

    class Attempt:
        preview, preview_frames = strip_png(np.full((2, 8, 8, 3), 9, np.uint8)), 2

    Attempt.job = job
    monkeypatch.setattr(service.pool, "attempt_of", lambda _: Attempt)
    png, frames = service.preview(job.id)
    (tmp_path / "p.png").write_bytes(png)
    assert (frames, says_made_by_ai(tmp_path / "p.png")) == (2, mark)
    assert np.array_equal(load_image(tmp_path / "p.png"), np.full((16, 8, 3), 9))


def test_a_download_says_where_the_licence_does_not_apply_before_it_asks(monkeypatch, tmp_path, capsys):
    plan = DownloadPlan(repositories=(), target=tmp_path, free=10**12)
    monkeypatch.setattr(DownloadPlan, "to_fetch", property(lambda _: 10**9))
    monkeypatch.setattr(cli_models, "plan_download", lambda *_: plan)
    said: list[str] = []

    def asked(_self: object, question: str) -> str:
        said.append(capsys.readouterr().err)
        return "n"

    monkeypatch.setattr("rich.console.Console.input", asked)
    with pytest.raises(ValueError, match="nothing was downloaded"):
        cli_models.download_command("framepack", ModelSource(), confirm=True)
    assert "does not apply in the European Union, the United Kingdom and South Korea" in said[0]


def test_another_model_brings_its_own_steps_length_and_size_where_they_were_the_models(tmp_path):
    usual = request_like(
        video(tmp_path / "v.mkv", GenerationRequest(image=picture(tmp_path / "a.png"))), model="framepack"
    )
    assert (usual.steps, usual.seconds, usual.resolution) == (25, 5.0, 640)
    chosen = GenerationRequest(image=picture(tmp_path / "a.png"), steps=7, seconds=3, width=96, height=64)
    other = request_like(video(tmp_path / "w.mkv", chosen), model="framepack")
    assert (other.steps, other.seconds, other.size) == (7, 3.0, (64, 96))
