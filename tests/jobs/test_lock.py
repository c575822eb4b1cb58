import os
import subprocess
import sys

import pytest

from framepack.jobs.lock import Busy, QueueLock


def test_only_one_holds_the_lock_and_the_other_is_told_who(tmp_path):
    first = QueueLock(tmp_path / "lock")
    with pytest.raises(Busy, match=f"process {os.getpid()}"):
        QueueLock(tmp_path / "lock", patience=0.1)
    first.close()
    QueueLock(tmp_path / "lock", patience=0.1).close()


@pytest.mark.skipif(os.name != "posix", reason="workers inherit the lock on POSIX only")
def test_a_worker_that_outlives_its_service_keeps_the_lock_until_it_is_gone(tmp_path):
    lock = QueueLock(tmp_path / "lock")
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=lock.descriptors)
    lock.close()
    with pytest.raises(Busy):
        QueueLock(tmp_path / "lock", patience=0.2)
    worker.kill()
    worker.wait()
    QueueLock(tmp_path / "lock", patience=30.0).close()
