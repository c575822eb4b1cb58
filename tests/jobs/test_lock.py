import os
import subprocess
import sys

import pytest

from framepack.files import lock
from framepack.files.lock import Busy, QueueLock


def test_only_one_holds_the_lock_and_the_other_is_told_who(tmp_path):
    first = QueueLock(tmp_path / "lock")
    with pytest.raises(Busy, match=f"process {os.getpid()}"):
        QueueLock(tmp_path / "lock", patience=0.1)
    first.close()
    QueueLock(tmp_path / "lock", patience=0.1).close()


@pytest.mark.skipif(os.name != "posix", reason="workers inherit the lock on POSIX only")
def test_a_worker_that_outlives_its_service_keeps_the_lock_until_it_is_gone(tmp_path):
    first = QueueLock(tmp_path / "lock")
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=first.descriptors)
    first.close()
    with pytest.raises(Busy):
        QueueLock(tmp_path / "lock", patience=0.2)
    worker.kill()
    worker.wait()
    QueueLock(tmp_path / "lock", patience=30.0).close()


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody delete a locked file")
def test_a_lock_file_that_is_deleted_or_replaced_lets_no_second_one_in(tmp_path):
    first = QueueLock(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    with pytest.raises(Busy, match=f"another FramePack service works on {tmp_path}"):
        QueueLock(tmp_path / "lock", patience=0.2)
    first.close()
    QueueLock(tmp_path / "lock", patience=0.1).close()


@pytest.mark.skipif(os.name != "posix", reason="Windows lets nobody delete a locked file")
def test_a_lock_is_of_the_file_that_has_its_name_now(tmp_path, monkeypatch):
    """Where folders have no locks: who opened a file that was deleted before it was locked opens the new one."""
    monkeypatch.setattr(lock, "take_folder", lambda folder, held: True)
    opened = os.open

    def slow(path, *arguments):
        descriptor = opened(path, *arguments)
        path.unlink()
        os.close(opened(path, *arguments))
        return descriptor

    monkeypatch.setattr(lock.os, "open", slow)
    assert lock.hold(tmp_path / "lock") is None
    monkeypatch.undo()
    held = lock.hold(tmp_path / "lock")
    assert held is not None
    lock.release(held)


def test_a_disk_whose_folders_have_no_locks_is_locked_by_the_file_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "take_folder", lambda folder, held: True)
    first = QueueLock(tmp_path / "lock")
    with pytest.raises(Busy):
        QueueLock(tmp_path / "lock", patience=0.1)
    first.close()
