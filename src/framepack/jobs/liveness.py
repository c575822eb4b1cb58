"""Distinguishes a hung process from a busy one by its heartbeats, its processor time and its disk traffic.

Loading a model can hold Python's lock for longer than a healthy step may, so a process that visibly works is given
more time; one that is stopped or asleep without heartbeats is not. Only time between checks counts: while the machine
sleeps, or the service itself is stopped, nothing counts as hung.
"""

import time
from collections.abc import Callable

import psutil

WARN_AFTER = 6.0
"""Seconds without a heartbeat after which there is a warning."""
HUNG_AFTER = 60.0
"""Seconds without a heartbeat and without work after which a process is hung."""
BUSY_HUNG_AFTER = 1800.0
"""Seconds without a heartbeat after which one that works all the time is hung too: 25 GB may load at 14 MB/s."""
MAX_INTERVAL = 1.0
"""Seconds that count at most between two checks."""
MIN_CPU_SHARE = 0.01
"""Share of the time that counts as using the processor: threads that wait for Python's lock use a third of it."""
MIN_IO_BYTES = 1 << 20
"""Bytes from or to a disk that count as work."""


class Liveness:
    """Of the process `pid`. `heartbeat` may be called from another thread."""

    def __init__(self, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process(pid)
        self._checked = clock()
        self.heartbeat()

    def heartbeat(self) -> None:
        """A heartbeat arrived."""
        self.silence = self._idle = 0.0
        self._before: tuple[float, int] | None = None

    def hung(self) -> str | None:
        """How it hangs, None while it does not or has exited. To be called about once a second."""
        now = self._clock()
        passed, self._checked = min(now - self._checked, MAX_INTERVAL), now
        self.silence += passed
        self._idle += passed
        try:
            if self.silence > MAX_INTERVAL and self._worked():
                self._idle = 0.0
        except psutil.NoSuchProcess:
            return None
        if self._idle < HUNG_AFTER and self.silence < BUSY_HUNG_AFTER:
            return None
        return f"hung: it sent no heartbeat for {self.silence:.0f} s"

    @property
    def warning(self) -> str:
        """A sentence about missing heartbeats, empty while they arrive."""
        if self.silence < WARN_AFTER:
            return ""
        works = self._idle < self.silence / 2
        then = "it uses the processor or the disk" if works else f"it is restarted after {HUNG_AFTER:.0f} s"
        return f"the worker has sent no heartbeat for {self.silence:.0f} s; {then}"

    def _worked(self) -> bool:
        """Whether it has done something since the last time it had, or since its last heartbeat."""
        times = self._process.cpu_times()
        now = times.user + times.system, self._disk_bytes()
        before = self._before = self._before or now
        worked = now[0] - before[0] > MIN_CPU_SHARE * HUNG_AFTER or now[1] - before[1] > MIN_IO_BYTES
        if worked:
            self._before = now
        return worked

    def _disk_bytes(self) -> int:
        """0 where the system does not count them."""
        io_counters = getattr(self._process, "io_counters", None)
        try:
            counters = io_counters() if io_counters else None
        except psutil.AccessDenied:
            return 0
        return counters.read_bytes + counters.write_bytes if counters else 0
