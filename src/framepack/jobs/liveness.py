"""Tells a hung process from a busy one by its signs of life, its state and whether it uses the processor.

Loading a model can hold Python's lock for longer than a healthy step may, so a process that visibly works is given
more time; one that is stopped or asleep without a sign of life is not.
"""

import time
from collections.abc import Callable

import psutil

SILENCE = 8.0
"""Seconds without a sign of life after which an idle process is hung."""
BUSY_SILENCE = 120.0
"""The same for one that uses the processor or waits for the disk."""
ENOUGH = 0.5
"""Seconds of processor time during the silence that count as being busy."""


class Liveness:
    """Of the process `pid`. `beat` may be called from another thread."""

    def __init__(self, pid: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process(pid)
        self.beat()

    def beat(self) -> None:
        """A sign of life arrived."""
        self._last = self._clock()
        self._used: float | None = None

    def hung(self) -> str | None:
        """How it hangs, None while it is well or already gone."""
        silence = self._clock() - self._last
        try:
            if self._used is None and silence > 1.0:
                self._used = self._processor_seconds()
            if silence < SILENCE or (silence < BUSY_SILENCE and self._busy()):
                return None
        except psutil.NoSuchProcess:
            return None
        return f"hung: no sign of life for {silence:.0f} s"

    def _busy(self) -> bool:
        state = self._process.status()
        if state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
            return False
        used = self._processor_seconds() - (self._used or 0.0)
        return used > ENOUGH or state in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)

    def _processor_seconds(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system
