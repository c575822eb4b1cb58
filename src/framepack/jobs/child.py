"""The worker process: `python -m framepack.jobs.child MODULE:FACTORY SETTINGS_JSON`.

Reads messages on standard input, writes them to what was standard output; anything a library prints goes to standard
error. Exits when the service has exited. A crash or a deadlock leaves its stack on standard error.
"""

import faulthandler
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import IO, Any

from framepack.jobs.messages import Message, MessageWriter, Task, apply_command, item_message, task_of
from framepack.jobs.run import Factory, Generate, run
from framepack.jobs.stream import AsyncStream

HEARTBEAT_INTERVAL = 1.0
"""Seconds."""
NICENESS = 5
"""By how much a worker's priority is lower, so that the service answers quickly while the processor is busy."""

Send = Callable[[Message], None]


def load(target: str) -> Factory:
    """The factory at an import path such as `package.module:function`."""
    module, _, name = target.partition(":")
    if not name:
        raise ValueError(f"a worker's target is MODULE:FUNCTION, got {target!r}")
    return getattr(importlib.import_module(module), name)


class TaskRunner:
    """Runs tasks one after the other on the calling thread; messages may come from any thread."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._running: dict[str, AsyncStream] = {}
        self._memory: Callable[[], dict[str, int]] = dict
        self._quit = threading.Event()

    def handle_message(self, message: Message) -> None:
        """Take a message of the service."""
        if message["kind"] == "job":
            task = task_of(message)
            self._running[task.job] = AsyncStream(on_item=lambda item: self._send(item_message(task.job, item)))
            self._tasks.put(task)
        elif message["kind"] == "command":
            stream = self._running.get(message["job"])
            if stream:
                apply_command(message, stream)
        else:
            self._tasks.put(None)

    def run(self, target: str, settings: dict[str, Any]) -> None:
        """Load the target, then run tasks until the message to quit."""
        threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True).start()
        try:
            generate = load(target)(**settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service must know
            message = f"the worker cannot start: {str(error) or type(error).__name__}"
            self._send({"kind": "broken", "message": message, "traceback": traceback.format_exc()})
            return
        self._memory = getattr(generate, "memory", dict)
        self._send({"kind": "ready"})
        while (task := self._tasks.get()) is not None:
            self._run_task(generate, task)
        self._quit.set()

    def _run_task(self, generate: Generate, task: Task) -> None:
        stream = self._running[task.job]
        run(generate, task.request, outputs=task.outputs, work=task.work, stream=stream, **task.machine)
        del self._running[task.job]

    def _heartbeat(self) -> None:
        while not self._quit.wait(HEARTBEAT_INTERVAL):
            self._send({"kind": "heartbeat", "memory": self._memory_now()})

    def _memory_now(self) -> dict[str, int]:
        try:
            return {kind: int(size) for kind, size in self._memory().items()}
        except Exception:  # noqa: BLE001 - whatever it is, heartbeats must go on
            traceback.print_exc()
            self._memory = dict
            return {}


def read_messages(lines: IO[bytes], runner: TaskRunner) -> None:
    """Pass the service's messages to the runner. When they end, the process exits, even in the middle of a step."""
    try:
        for line in lines:
            runner.handle_message(json.loads(line))
    except Exception:  # noqa: BLE001 - whatever it is, a worker that gets no messages must not go on
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Entry point of the process."""
    target, settings = sys.argv[1], json.loads(sys.argv[2])
    gc.set_threshold(10_000)  # as on the command line
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    lines = os.fdopen(os.dup(0), "rb")
    writer = MessageWriter(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)

    def send(message: Message) -> None:
        try:
            writer.send(message)
        except OSError:
            os._exit(0)

    runner = TaskRunner(send)
    threading.Thread(target=read_messages, args=(lines, runner), name="read messages", daemon=True).start()
    runner.run(target, settings)


if __name__ == "__main__":
    main()
