"""The service's end of a conversation with one worker, whatever carries the messages."""

import threading
from collections.abc import Callable

from framepack.jobs.stream import AsyncStream, Ended
from framepack.jobs.wire import Errand, Message, deliver, of_command, of_errand


class Line:
    """Sends with `send`, is told by `hear`; one job at a time. Once `hang_up` was called every job ends that way."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._stream: AsyncStream | None = None
        self._job = ""
        self._lock = threading.Lock()
        self.memory: dict[str, int] = {}
        self.ready = False
        """Whether the worker has loaded its target: what happens before has nothing to do with a job."""
        self.gone: Ended | None = None

    def begin(self, errand: Errand) -> AsyncStream:
        """Hand the worker a job."""
        stream = AsyncStream(on_command=lambda command: self._send(of_command(errand.job, command)))
        with self._lock:
            self._stream, self._job = stream, errand.job
            if self.gone:
                stream.end(self.gone)
        self._send(of_errand(errand))
        return stream

    def hear(self, message: Message) -> None:
        """Take a message of the worker."""
        if message["kind"] == "beat":
            self.memory = message["memory"]
        elif message["kind"] == "ready":
            self.ready = True
        elif message["kind"] == "broken":
            self.hang_up(Ended(how="broken", message=message["message"], traceback=message["traceback"]))
        elif message["job"] == self._job and self._stream:
            deliver(message, self._stream)

    def hang_up(self, ended: Ended) -> None:
        """The worker is gone; the first reason counts."""
        with self._lock:
            self.gone = self.gone or ended
            if self._stream:
                self._stream.end(self.gone)
