"""Tells a hung process from a busy one by its signs of life, the processor time it uses and what it reads from disk.

Loading a model can hold Python's lock for longer than a healthy step may, so a process that visibly works is given
more time; one that is stopped or asleep without a sign of life is not. Only time that somebody looked on counts: while
the machine sleeps, or the service is stopped itself, nobody hangs.
"""

import time
from collections.abc import Callable

import psutil

NOTICED = 6.0
"""Seconds without a sign of life after which it is said."""
HUNG = 60.0
"""Seconds without a sign of life and without work after which a process is hung."""
BUSY_HUNG = 1800.0
"""Seconds without a sign of life after which one that works all the time is hung too: 25 GB may come at 14 MB/s."""
LOOK = 1.0
"""Seconds that count at most between two looks."""
ENOUGH = 0.01
"""Share of the time that counts as using the processor: threads that wait for Python's lock use a third of it."""
READ = 1 << 20
"""Bytes from or to a disk that count as work."""


class Liveness:
    """Of the process `pid`. `beat` may be called from another thread."""

    def __init__(self, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process(pid)
        self._looked = clock()
        self.beat()

    def beat(self) -> None:
        """A sign of life arrived."""
        self.silence = self._idle = 0.0
        self._before: tuple[float, int] | None = None

    def hung(self) -> str | None:
        """How it hangs, None while it is well or already gone. Has to be asked about once a second."""
        now = self._clock()
        passed, self._looked = min(now - self._looked, LOOK), now
        self.silence += passed
        self._idle += passed
        try:
            if self.silence > LOOK and self._worked():
                self._idle = 0.0
        except psutil.NoSuchProcess:
            return None
        if self._idle < HUNG and self.silence < BUSY_HUNG:
            return None
        return f"hung: no sign of life for {self.silence:.0f} s"

    @property
    def trouble(self) -> str:
        """What a person should hear of its silence; empty where there is none."""
        if self.silence < NOTICED:
            return ""
        works = self._idle < self.silence / 2
        then = "but it uses the processor or the disk" if works else f"it is ended after {HUNG:.0f} s of that"
        return f"no sign of life from the worker for {self.silence:.0f} s; {then}"

    def _worked(self) -> bool:
        """Whether it has done something since the last time it had, or since it fell silent."""
        times = self._process.cpu_times()
        now = times.user + times.system, self._disk_bytes()
        before = self._before = self._before or now
        worked = now[0] - before[0] > ENOUGH * HUNG or now[1] - before[1] > READ
        if worked:
            self._before = now
        return worked

    def _disk_bytes(self) -> int:
        """Not all systems say, nor of every process."""
        ask = getattr(self._process, "io_counters", None)
        try:
            counters = ask() if ask else None
        except psutil.AccessDenied:
            return 0
        return counters.read_bytes + counters.write_bytes if counters else 0
