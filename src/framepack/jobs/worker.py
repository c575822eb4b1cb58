"""Workers from the service's side: a child process that may crash, or a thread. Both run a task into an AsyncStream.

A crash shows as a closed pipe, a hang as missing heartbeats. How a stream ended is always its last item.
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
from framepack.jobs.channel import Channel
from framepack.jobs.child import TaskRunner
from framepack.jobs.liveness import Liveness
from framepack.jobs.messages import Message, MessageWriter, Task
from framepack.jobs.stream import AsyncStream, Ended

LOG_LIMIT = 2**20
"""Bytes of a worker's log after which a new worker starts it afresh."""
TAIL = 8000
"""Bytes of the log that go into a crashed worker's traceback."""
DUMP_TIMEOUT = 1.0
"""Seconds a hung process has to write its stack."""
MAX_LINE = 64 << 20
"""Bytes of a line that are read at most; what is longer is no message."""


class Worker(Protocol):
    """What the pool needs of one."""

    channel: Channel

    def submit(self, task: Task) -> AsyncStream:
        """Start a task. Never waits for the worker."""
        ...

    def alive(self) -> bool:
        """Whether it can be given work. Kills a hung one, and ends the stream of one that has exited."""
        ...

    @property
    def warning(self) -> str:
        """A sentence about missing heartbeats, empty while they arrive."""
        ...

    def close(self, timeout: float = 5.0) -> None:
        """Stop it, by force after `timeout` seconds. Afterwards it touches nothing any more."""
        ...


class ThreadWorker:
    """A thread of this process: easy to debug, but a crash takes the service with it and a hang stays."""

    warning = ""

    def __init__(self, target: str, settings: dict[str, Any]) -> None:
        self._runner = TaskRunner(lambda message: self.channel.handle_message(message))
        self.channel = Channel(self._runner.handle_message)
        self._thread = threading.Thread(target=self._run, args=(target, settings), name="worker", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> AsyncStream:
        """See Worker."""
        return self.channel.submit(task)

    def alive(self) -> bool:
        """See Worker."""
        return self._thread.is_alive() and self.channel.closed is None

    def close(self, timeout: float = 5.0) -> None:
        """See Worker; a thread cannot be forced."""
        self._runner.handle_message({"kind": "quit"})
        self._thread.join(timeout)

    def _run(self, target: str, settings: dict[str, Any]) -> None:
        try:
            with suppress(SystemExit):
                self._runner.run(target, settings)
        finally:
            self.channel.close(Ended(how="crashed", message="exited"))


class ProcessWorker:
    """A child process that runs `framepack.jobs.child`, its standard error in `log`.

    keep: file descriptors that it inherits, such as the lock on the queue, and holds until it exits.
    """

    def __init__(self, target: str, settings: dict[str, Any], *, log: Path, keep: tuple[int, ...] = ()) -> None:
        self._log = log
        self._failure = ""
        self._process = launch(target, settings, log, keep)
        self._log_start = log.stat().st_size
        assert self._process.stdin
        assert self._process.stdout
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.channel = Channel(self._outbox.put)
        self._liveness = Liveness(self._process.pid)
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), name="read", daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, args=(self._process.stdin,), name="write", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def submit(self, task: Task) -> AsyncStream:
        """See Worker."""
        if self._log.exists():
            self._log_start = self._log.stat().st_size
        return self.channel.submit(task)

    def alive(self) -> bool:
        """See Worker."""
        if self.channel.closed:
            return False
        if self._process.poll() is not None:
            self._close_channel()
            return False
        hung = self._liveness.hung()
        if hung is None:
            return True
        self._failure = hung
        if os.name == "posix":
            self._process.send_signal(signal.SIGABRT)
        self._stop(DUMP_TIMEOUT)
        return False

    @property
    def warning(self) -> str:
        """See Worker."""
        return self._liveness.warning

    def close(self, timeout: float = 5.0) -> None:
        """See Worker."""
        self._outbox.put({"kind": "quit"})
        self._stop(timeout)

    def _stop(self, timeout: float) -> None:
        try:
            self._process.wait(timeout)
        except Late:
            self._process.kill()
            with suppress(Late):  # one that waits for a broken disk exits when the disk answers
                self._process.wait(DUMP_TIMEOUT)
        self._close_channel()

    def _close_channel(self) -> None:
        """Read its last messages, but not forever: its own children may keep the pipe open."""
        self._outbox.put(None)
        self._reader.join(DUMP_TIMEOUT)
        self._report_exit()

    def _report_exit(self) -> None:
        why = self._failure or describe_exit(self._process.poll())
        self.channel.close(Ended(how="crashed", message=why, traceback=self._tail()))

    def _write(self, file: IO[bytes]) -> None:
        """On a thread of its own: a worker that does not read must block nobody."""
        writer = MessageWriter(file)
        with suppress(OSError, ValueError), file:
            while (message := self._outbox.get()) is not None:
                writer.send(message)

    def _read(self, lines: IO[bytes]) -> None:
        try:
            while line := lines.readline(MAX_LINE):
                self._liveness.heartbeat()
                self.channel.handle_message(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever it sends, nobody may wait for a worker without messages
            self._failure = f"sent a message that cannot be read: {error}"
            self._process.kill()
        self._process.wait()
        lines.close()
        self._report_exit()

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


def describe_exit(code: int | None) -> str:
    """How a process exited, as the rest of a sentence that begins with "the worker"."""
    if code is None:
        return "hung and could not be killed: it waits for a disk or a device"
    if code >= 0:
        return f"exited with code {code}"
    if code == -signal.SIGKILL:
        return "was killed, as the system does when there is not enough memory"
    return f"crashed with signal {signal.Signals(-code).name}"
