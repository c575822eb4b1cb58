"""Temporary files that killed processes left are dropped; others' are not."""

import os
import time
from pathlib import Path

from framepack.files.atomic import AtomicFile, sweep_parts


def left(path: Path, ago: float = 0.0) -> Path:
    """What a process that was killed has left of a file of that name."""
    part = AtomicFile(path).temporary
    part.touch()
    os.utime(part, (time.time() - ago, time.time() - ago))
    return part


def test_only_temporary_files_that_nobody_writes_to_are_dropped(tmp_path):
    old, fresh, other = left(tmp_path / "v.mp4", 700), left(tmp_path / "v.mp4"), left(tmp_path / "w.mp4", 700)
    mine = [tmp_path / name for name in (".v.mp4.part", "v.mp4.0a1b2c3d.part", ".v.mp4.0A1B2C3D.part", "v.part.mp4")]
    for file in mine:
        file.touch()
        os.utime(file, (0, 0))
    sweep_parts(tmp_path, unwritten=600, names={"v.mp4"})
    assert (old.exists(), fresh.exists(), other.exists()) == (False, True, True)
    sweep_parts(tmp_path, unwritten=600)
    assert (fresh.exists(), other.exists()) == (True, False)
    assert all(file.exists() for file in mine)
