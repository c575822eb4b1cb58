"""A worker as the service sees it: a process that may die, or a thread. Both take a job and give an AsyncStream.

A death is known by the closed pipe, a hang by missing signs of life. How a stream ends is always its last item.
"""

import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
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
LONGEST = 64 << 20
"""Bytes of a line that are read at most; what is longer is no message."""


class Worker(Protocol):
    """What the pool needs of one."""

    line: Line

    def begin(self, errand: Errand) -> AsyncStream:
        """Start on a job. Never waits for the worker."""
        ...

    def alive(self) -> bool:
        """Whether it can be given work. A hung one is ended here, and a dead one's stream ends."""
        ...

    @property
    def trouble(self) -> str:
        """What a person should hear of its silence, empty while it gives signs of life."""
        ...

    def close(self, timeout: float = 5.0) -> None:
        """End it, by force after `timeout` seconds. Afterwards it touches nothing any more."""
        ...


class ThreadWorker:
    """A thread of this process: easy to debug, but a crash takes the service with it and a hang stays."""

    trouble = ""

    def __init__(self, target: str, settings: dict[str, Any]) -> None:
        self._maker = Maker(lambda message: self.line.hear(message))
        self.line = Line(self._maker.hear)
        self._thread = threading.Thread(target=self._work, args=(target, settings), name="worker", daemon=True)
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

    def _work(self, target: str, settings: dict[str, Any]) -> None:
        try:
            with suppress(SystemExit):
                self._maker.work(target, settings)
        finally:
            self.line.hang_up(Ended(how="died", message="ended by itself"))


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
        assert self._process.stdout
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.line = Line(self._outbox.put)
        self._liveness = Liveness(self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="hear", daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, args=(self._process.stdin,), name="speak", daemon=True).start()

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
        if self.line.gone:
            return False
        if self._process.poll() is not None:
            self._bury()
            return False
        hung = self._liveness.hung()
        if hung is None:
            return True
        self._verdict = hung
        if os.name == "posix":
            self._process.send_signal(signal.SIGABRT)
        self._end(LAST_WORDS)
        return False

    @property
    def trouble(self) -> str:
        """See Worker."""
        return self._liveness.trouble

    def close(self, timeout: float = 5.0) -> None:
        """See Worker."""
        self._outbox.put({"kind": "quit"})
        self._end(timeout)

    def _end(self, timeout: float) -> None:
        try:
            self._process.wait(timeout)
        except Late:
            self._process.kill()
            with suppress(Late):  # one that waits for a broken disk goes when that lets go of it
                self._process.wait(LAST_WORDS)
        self._bury()

    def _bury(self) -> None:
        """Read its last words; what it started itself may keep its end of the pipe open for ever."""
        self._outbox.put(None)
        self._reader.join(LAST_WORDS)
        self._hang_up()

    def _hang_up(self) -> None:
        why = self._verdict or how_it_died(self._process.poll())
        self.line.hang_up(Ended(how="died", message=why, traceback=self._tail()))

    def _write(self, file: IO[bytes]) -> None:
        """On a thread of its own: a worker that does not read must hold up nobody."""
        writer = LineWriter(file)
        with suppress(OSError, ValueError), file:
            while (message := self._outbox.get()) is not None:
                writer.send(message)

    def _read(self, lines: IO[bytes]) -> None:
        try:
            while line := lines.readline(LONGEST):
                self._liveness.beat()
                self.line.hear(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever it says, nobody may wait for a worker that is not understood
            self._verdict = f"said what nobody understands: {error}"
            self._process.kill()
        self._process.wait()
        lines.close()
        self._hang_up()

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


def how_it_died(code: int | None) -> str:
    """A dead process's end, as the rest of a sentence that begins with "the worker"."""
    if code is None:
        return "hung and could not be ended: it waits for a disk or a device"
    if code >= 0:
        return f"ended by itself with code {code}"
    if code == -signal.SIGKILL:
        return "was killed, as the system does when memory runs out"
    return f"crashed with signal {signal.Signals(-code).name}"
