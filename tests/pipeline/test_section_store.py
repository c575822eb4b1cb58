"""The folder of a run: its own as long as it lives, and gone afterwards where it was temporary."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from framepack.pipeline import work_lock
from framepack.pipeline.section_files import LOCK, REQUEST
from framepack.pipeline.section_store import SectionStore
from framepack.pipeline.work_lock import TEMPORARY, held
from framepack.spec.request import GenerationRequest


def request_for(output: Path | None, tmp_path: Path) -> GenerationRequest:
    image = tmp_path / "a.png"
    image.touch()
    return GenerationRequest(image=image, output={"path": output})


def test_a_folder_is_one_runs_as_long_as_it_lives(tmp_path: Path):
    request = request_for(None, tmp_path)
    with SectionStore.open(tmp_path / "work", request, tmp_path):
        with (
            pytest.raises(ValueError, match=r"another run uses .*work: wait until it ends, or choose another"),
            SectionStore.open(tmp_path / "work", request, tmp_path),
        ):
            pass
        with SectionStore.open(tmp_path / "other", request, tmp_path):
            pass
    with SectionStore.open(tmp_path / "work", request, tmp_path):
        pass


def test_another_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path):
    code = "import sys, pathlib, time; from framepack.pipeline.work_lock import held\n"
    code += "with held(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another run"), held(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with held(tmp_path):
        pass


@pytest.mark.parametrize("named", [True, False])
def test_a_temporary_folder_is_a_hidden_one_beside_the_output(named: bool, tmp_path: Path):
    beside = tmp_path / "videos" / "new"
    request = request_for(beside / "v.mp4" if named else None, tmp_path)
    with SectionStore.open(None, request, tmp_path / "elsewhere" if named else beside) as folder:
        assert folder.path.parent == beside
        assert folder.path.name.startswith(".")
        assert not folder.keeps
    assert list(beside.iterdir()) == []


def test_an_error_removes_the_temporary_folder_too(tmp_path: Path):
    outputs = tmp_path / "outputs"
    with pytest.raises(KeyError), SectionStore.open(None, request_for(None, tmp_path), outputs):
        raise KeyError
    assert list(outputs.iterdir()) == []


def test_what_killed_runs_left_goes_with_the_next_and_nothing_else(tmp_path: Path):
    request, outputs = request_for(None, tmp_path), tmp_path / "outputs"
    left, begun, users = (outputs / name for name in (f"{TEMPORARY}left", f"{TEMPORARY}begun", ".framepack"))
    for folder in (left, begun, users):
        folder.mkdir(parents=True)
        (folder / "settled.mkv").touch()
    for folder in (left, users):
        (folder / LOCK).touch()
    with SectionStore.open(None, request, outputs) as one, SectionStore.open(None, request, outputs):
        assert one.path.is_dir(), "a run that lives keeps its folder"
        assert not left.exists()
    assert sorted(outputs.iterdir()) == sorted([users, begun])


def test_on_a_disk_without_locks_runs_go_on_and_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def take(descriptor: int) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(work_lock, "take", take)
    request = request_for(None, tmp_path)
    with SectionStore.open(None, request, tmp_path / "outputs") as one:
        with SectionStore.open(None, request, tmp_path / "outputs"):
            pass
        assert one.path.is_dir()


def test_a_file_in_a_folders_place_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    for given, output in ((tmp_path / "file", None), (None, tmp_path / "file" / "a.mp4")):
        with (
            pytest.raises(ValueError, match=r"file cannot be a folder, as there is a file in its place"),
            SectionStore.open(given, request_for(output, tmp_path), tmp_path),
        ):
            pass


def test_a_folder_of_other_things_is_left_as_it_is(tmp_path: Path):
    request, folder = request_for(None, tmp_path), tmp_path / "home"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with (
        pytest.raises(ValueError, match=r"home has other things in it \(letter.txt\): name an empty folder"),
        SectionStore.open(folder, request, tmp_path),
    ):
        pass
    assert [file.name for file in folder.iterdir()] == ["letter.txt"]
    (folder / "letter.txt").rename(folder / ".hidden")
    for _ in range(2):
        with SectionStore.open(folder, request, tmp_path):
            (folder / "section-0000.safetensors").touch()


def test_work_from_before_a_setting_was_there_has_that_at_its_default(tmp_path: Path):
    request = request_for(None, tmp_path)
    with SectionStore.open(tmp_path / "work", request, tmp_path):
        pass
    file = tmp_path / "work" / REQUEST
    written = json.loads(file.read_text())
    del written["cfg_rescale"]
    file.write_text(json.dumps(written))
    marked = request.model_copy(update={"output": request.output.model_copy(update={"mark": False})})
    for same in (request, marked):
        with SectionStore.open(tmp_path / "work", same, tmp_path):
            pass
    with (
        pytest.raises(ValueError, match=r"other: cfg_rescale\)"),
        SectionStore.open(tmp_path / "work", request.model_copy(update={"cfg_rescale": 0.5}), tmp_path),
    ):
        pass
