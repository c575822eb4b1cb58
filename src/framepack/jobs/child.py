"""The worker's own process: `python -m framepack.jobs.child MODULE:FACTORY SETTINGS_JSON`.

Reads messages on standard input, writes them on what was standard output; anything a library prints goes to standard
error. Ends by itself when the service is gone. A crash or a deadlock leaves its stack on standard error.
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

from framepack.jobs.run import Factory, Generate, run
from framepack.jobs.stream import AsyncStream
from framepack.jobs.wire import Errand, LineWriter, Message, errand_of, obey, of_item

BEAT = 1.0
"""Seconds between signs of life."""
POLITE = 5
"""By how much a worker's priority is lower, so that the service answers quickly while the processor is busy."""

Send = Callable[[Message], None]


def load(target: str) -> Factory:
    """The factory an import path such as `package.module:function` names."""
    module, _, name = target.partition(":")
    if not name:
        raise ValueError(f"a worker's target is MODULE:FUNCTION, got {target!r}")
    return getattr(importlib.import_module(module), name)


class Maker:
    """Runs jobs one after the other on the calling thread; messages come in from any thread."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._jobs: queue.SimpleQueue[Errand | None] = queue.SimpleQueue()
        self._running: dict[str, AsyncStream] = {}
        self._memory: Callable[[], dict[str, int]] = dict
        self._quit = threading.Event()

    def hear(self, message: Message) -> None:
        """Take a message of the service."""
        if message["kind"] == "job":
            errand = errand_of(message)
            self._running[errand.job] = AsyncStream(on_item=lambda item: self._send(of_item(errand.job, item)))
            self._jobs.put(errand)
        elif message["kind"] == "command":
            stream = self._running.get(message["job"])
            if stream:
                obey(message, stream)
        else:
            self._jobs.put(None)

    def work(self, target: str, settings: dict[str, Any]) -> None:
        """Load the target and make what is asked for until told to quit."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()
        try:
            generate = load(target)(**settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service has to hear of it
            message = f"the worker cannot start: {str(error) or type(error).__name__}"
            self._send({"kind": "broken", "message": message, "traceback": traceback.format_exc()})
            return
        self._memory = getattr(generate, "memory", dict)
        self._send({"kind": "ready"})
        while (errand := self._jobs.get()) is not None:
            self._make(generate, errand)
        self._quit.set()

    def _make(self, generate: Generate, errand: Errand) -> None:
        stream = self._running[errand.job]
        means = {"outputs": errand.outputs, "work": errand.work, **errand.machine}
        run(generate, errand.request, stream=stream, **means)
        del self._running[errand.job]

    def _beat(self) -> None:
        while not self._quit.wait(BEAT):
            self._send({"kind": "beat", "memory": self._memory_now()})

    def _memory_now(self) -> dict[str, int]:
        try:
            return {kind: int(size) for kind, size in self._memory().items()}
        except Exception:  # noqa: BLE001 - whatever it is, the signs of life must not end with it
            traceback.print_exc()
            self._memory = dict
            return {}


def listen(lines: IO[bytes], maker: Maker) -> None:
    """Hand the service's messages to the maker; its end is this process's end, even in the middle of a step."""
    try:
        for line in lines:
            maker.hear(json.loads(line))
    except Exception:  # noqa: BLE001 - whatever it is, a worker that hears nothing any more must not live on
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
        os.nice(POLITE)
    lines = os.fdopen(os.dup(0), "rb")
    writer = LineWriter(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)

    def send(message: Message) -> None:
        try:
            writer.send(message)
        except OSError:
            os._exit(0)

    maker = Maker(send)
    threading.Thread(target=listen, args=(lines, maker), name="listen", daemon=True).start()
    maker.work(target, settings)


if __name__ == "__main__":
    main()
