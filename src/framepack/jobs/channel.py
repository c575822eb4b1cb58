"""The service's side of the message channel to one worker, whatever carries the messages."""

import threading
from collections.abc import Callable

from framepack.jobs.messages import Message, Task, apply_item, command_message, task_message
from framepack.jobs.stream import AsyncStream, Ended


class Channel:
    """Sends with `send`, receives through `handle_message`; one task at a time. Once closed, every task ends so."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._stream: AsyncStream | None = None
        self._job = ""
        self._lock = threading.Lock()
        self.memory: dict[str, int] = {}
        self.ready = False
        """Whether the worker has loaded its target: what happens before has nothing to do with a job."""
        self.closed: Ended | None = None
        """Why it was closed; None while it is open."""

    def submit(self, task: Task) -> AsyncStream:
        """Send the worker a task; its events come out of the stream."""
        stream = AsyncStream(on_command=lambda command: self._send(command_message(task.job, command)))
        with self._lock:
            self._stream, self._job = stream, task.job
            if self.closed:
                stream.end(self.closed)
        self._send(task_message(task))
        return stream

    def handle_message(self, message: Message) -> None:
        """Take a message of the worker."""
        if message["kind"] == "heartbeat":
            self.memory = message["memory"]
        elif message["kind"] == "ready":
            self.ready = True
        elif message["kind"] == "broken":
            self.close(Ended(how="broken", message=message["message"], traceback=message["traceback"]))
        elif message["job"] == self._job and self._stream:
            apply_item(message, self._stream)

    def close(self, ended: Ended) -> None:
        """End the task, if there is one; the first reason counts."""
        with self._lock:
            self.closed = self.closed or ended
            if self._stream:
                self._stream.end(self.closed)
