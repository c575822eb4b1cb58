"""A hang is distinguished from work and from sleep: with the test's own clock, and a process with given counters."""

from types import SimpleNamespace

import psutil
import pytest

from framepack.jobs import liveness
from framepack.jobs.liveness import BUSY_HUNG_AFTER, HUNG_AFTER, WARN_AFTER, Liveness


class Watched:
    """A silent process, looked at four times a second; it uses so much of the processor and reads so many bytes."""

    def __init__(self, monkeypatch) -> None:
        self.now = self.cpu = 0.0
        self.bytes = 0
        monkeypatch.setattr(liveness.psutil, "Process", lambda pid: self)
        self.alive = Liveness(1, clock=lambda: self.now)

    def cpu_times(self):
        return SimpleNamespace(user=self.cpu, system=0.0)

    def io_counters(self):
        return SimpleNamespace(read_bytes=self.bytes, write_bytes=0)

    def pass_time(self, seconds: float, *, cpu: float = 0.0, bytes_read: int = 0) -> str | None:
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.cpu += cpu / 4
            self.bytes += bytes_read // 4
            if verdict := self.alive.hung():
                return verdict
        return None


@pytest.fixture
def watched(monkeypatch):
    return Watched(monkeypatch)


def test_silence_is_shown_within_10_s_and_ends_after_60(watched):
    assert WARN_AFTER < 10
    assert HUNG_AFTER == 60
    assert watched.pass_time(WARN_AFTER - 1) is None
    assert watched.alive.warning == ""
    watched.pass_time(2)
    assert "the worker has sent no heartbeat for 7 s" in watched.alive.warning
    assert watched.pass_time(50) is None
    assert watched.pass_time(5) == "hung: it sent no heartbeat for 60 s"


def test_a_sign_of_life_forgives(watched):
    watched.pass_time(50)
    watched.alive.heartbeat()
    assert watched.alive.warning == ""
    assert watched.pass_time(50) is None


@pytest.mark.parametrize("work", [{"cpu": 1.0}, {"cpu": 0.05}, {"bytes_read": 5 << 20}])
def test_loading_is_no_hang_though_it_is_shown(watched, work):
    assert watched.pass_time(1000, **work) is None
    assert "it uses the processor or the disk" in watched.alive.warning
    assert watched.pass_time(BUSY_HUNG_AFTER, **work) is not None, "the queue does not wait forever"


def test_threads_that_wait_for_pythons_lock_do_no_work(watched):
    assert watched.pass_time(61, cpu=0.003) is not None


def test_work_that_stops_becomes_a_hang(watched):
    assert watched.pass_time(300, cpu=1.0) is None
    assert watched.pass_time(59) is None
    assert watched.pass_time(2) is not None


def test_a_laptops_sleep_is_no_hang(watched):
    watched.pass_time(5)
    watched.now += 8 * 3600
    assert watched.alive.hung() is None
    assert watched.pass_time(50) is None
    assert watched.pass_time(5) is not None


def test_a_process_that_has_exited_or_has_no_disk_counters_is_not_hung(watched, monkeypatch):
    def gone():
        raise psutil.NoSuchProcess(1)

    def secret():
        raise psutil.AccessDenied(1)

    monkeypatch.setattr(watched, "io_counters", secret)
    assert watched.pass_time(59) is None
    monkeypatch.setattr(watched, "cpu_times", gone)
    assert watched.pass_time(59) is None
