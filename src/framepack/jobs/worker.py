"""A worker as the service sees it: a process that may die, or a thread. Both take a job and give an AsyncStream.

A death is known by the closed pipe, a hang by missing signs of life. How a stream ends is always its last item.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any, Protocol

from framepack.files.child import PIPE, Child, Late, start
from framepack.jobs.child import Maker
from framepack.jobs.line import Line
from framepack.jobs.liveness import Liveness
from framepack.jobs.stream import AsyncStream, Ended
from framepack.jobs.wire import Errand, LineWriter, Message

LOG_LIMIT = 2**20
"""Bytes of a worker's log after which a new worker starts it afresh."""
TAIL = 8000
"""Bytes of the log that go into a dead worker's traceback."""
LAST_WORDS = 1.0
"""Seconds a hung process has to write where it hangs."""


class Worker(Protocol):
    """What the pool needs of one."""

    line: Line

    def begin(self, errand: Errand) -> AsyncStream:
        """Start on a job."""
        ...

    def alive(self) -> bool:
        """Whether it can be given work. A hung one is ended here, which ends its stream."""
        ...

    def close(self, timeout: float = 5.0) -> None:
        """End it, by force after `timeout` seconds. Afterwards it touches nothing any more."""
        ...


class ThreadWorker:
    """A thread of this process: easy to debug, but a crash takes the service with it and a hang stays."""

    def __init__(self, target: str, settings: dict[str, Any]) -> None:
        self._maker = Maker(lambda message: self.line.hear(message))
        self.line = Line(self._maker.hear)
        self._thread = threading.Thread(target=self._maker.work, args=(target, settings), name="worker", daemon=True)
        self._thread.start()

    def begin(self, errand: Errand) -> AsyncStream:
        """See Worker."""
        return self.line.begin(errand)

    def alive(self) -> bool:
        """See Worker."""
        return self._thread.is_alive() and self.line.gone is None

    def close(self, timeout: float = 5.0) -> None:
        """See Worker; a thread cannot be forced."""
        self._maker.hear({"kind": "quit"})
        self._thread.join(timeout)


class ProcessWorker:
    """A child process that runs `framepack.jobs.child`, its standard error in `log`.

    `keep` are file descriptors it shall hold, such as the lock on the queue, until it is gone.
    """

    def __init__(self, target: str, settings: dict[str, Any], *, log: Path, keep: tuple[int, ...] = ()) -> None:
        self._log = log
        self._verdict = ""
        self._process = launch(target, settings, log, keep)
        self._log_start = log.stat().st_size
        assert self._process.stdin
        self._writer = LineWriter(self._process.stdin)
        self.line = Line(self._tell)
        self._liveness = Liveness(self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="hear", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def begin(self, errand: Errand) -> AsyncStream:
        """See Worker."""
        if self._log.exists():
            self._log_start = self._log.stat().st_size
        return self.line.begin(errand)

    def alive(self) -> bool:
        """See Worker."""
        if self._process.poll() is not None or self.line.gone:
            return False
        hung = self._liveness.hung()
        if hung is None:
            return True
        self._verdict = hung
        if os.name == "posix":
            self._process.send_signal(signal.SIGABRT)
        self._wait(LAST_WORDS)
        return False

    def close(self, timeout: float = 5.0) -> None:
        """See Worker."""
        self._tell({"kind": "quit"})
        self._wait(timeout)

    def _wait(self, timeout: float) -> None:
        try:
            self._process.wait(timeout)
        except Late:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _tell(self, message: Message) -> None:
        try:
            self._writer.send(message)
        except (OSError, ValueError):
            self._process.poll()

    def _read(self, lines: IO[bytes]) -> None:
        try:
            for line in lines:
                self._liveness.beat()
                self.line.hear(json.loads(line))
        except (ValueError, KeyError) as error:
            if self._process.poll() is None:
                self._verdict = f"said what nobody understands: {error}"
                self._process.kill()
        self._process.wait()
        lines.close()
        why = self._verdict or how_it_died(self._process.returncode)
        self.line.hang_up(Ended(how="died", message=why, traceback=self._tail()))

    def _tail(self) -> str:
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(min(self._log_start, size), size - TAIL))
            return log.read().decode(errors="replace")


def launch(target: str, settings: dict[str, Any], log: Path, keep: tuple[int, ...]) -> Child:
    """Start the process; the log is appended to until it is large. -P: no module comes from the current folder."""
    log.parent.mkdir(parents=True, exist_ok=True)
    fresh = not log.exists() or log.stat().st_size > LOG_LIMIT
    with log.open("wb" if fresh else "ab") as errors:
        command = [sys.executable, "-P", "-m", "framepack.jobs.child", target, json.dumps(settings)]
        return start(command, stdin=PIPE, stdout=PIPE, stderr=errors, keep=keep)


def how_it_died(code: int) -> str:
    """A dead process's end, as the rest of a sentence that begins with "the worker"."""
    if code >= 0:
        return f"ended by itself with code {code}"
    if code == -signal.SIGKILL:
        return "was killed, as the system does when memory runs out"
    return f"crashed with signal {signal.Signals(-code).name}"
