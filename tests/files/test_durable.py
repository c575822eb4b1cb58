"""A power cut after a rename: what is synchronised, in which order; more cannot be tested without pulling a plug."""

import os
import stat
from pathlib import Path

import pytest

from framepack.app.service.loras import place
from framepack.app.service.paths import copy_once
from framepack.files.atomic import atomic_write
from framepack.files.durable import move, move_folder, sync_folder
from framepack.pipeline.presets import Presets

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no call for folders")


@pytest.fixture
def synced(monkeypatch) -> list[tuple[str, bool]]:
    """What was given to the disk, in order: its kind, and whether the target was there by then."""
    done, real = [], os.fsync

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return done


def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_work_goes_on(tmp_path: Path, synced) -> None:
    (tmp_path / "a").write_text("x")
    assert move(tmp_path / "a", tmp_path / "b").read_text() == "x"
    assert synced == ["file", "folder"]


def test_a_folder_is_moved_with_all_its_files(tmp_path: Path, synced) -> None:
    (tmp_path / "new").mkdir()
    for name in "ab":
        (tmp_path / "new" / name).touch()
    move_folder(tmp_path / "new", tmp_path / "there")
    assert synced == ["file", "file", "folder", "folder"]
    assert len(list((tmp_path / "there").iterdir())) == 2


def test_whatever_replaces_a_file_tells_the_disk(tmp_path: Path, synced) -> None:
    def settled(do) -> list[str]:
        synced.clear()
        do()
        return synced[-2:]

    picture = tmp_path / "a.png"
    picture.write_text("x")
    (tmp_path / "loras").mkdir()
    (tmp_path / "uploads").mkdir()
    presets = Presets(tmp_path / "presets")
    presets.save("mine", {"steps": 3})

    def write() -> None:
        with atomic_write(tmp_path / "b") as temporary:
            temporary.touch()

    pair = ["file", "folder"]
    assert settled(write) == pair
    assert settled(lambda: copy_once(picture, tmp_path / "uploads")) == pair
    assert settled(lambda: presets.rename("mine", "yours")) == pair
    assert settled(lambda: place(picture, tmp_path / "loras", "a.safetensors", "0")) == pair


def test_a_disk_that_cannot_do_it_for_folders_keeps_nothing_from_being_made(tmp_path: Path, monkeypatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError("not for folders")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)
