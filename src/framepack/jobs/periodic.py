"""A small task that runs every so many seconds, on its own thread, while a service is open."""

import logging
import sqlite3
import threading
from collections.abc import Callable

JOIN_TIMEOUT = 2.0
"""Seconds that a run under way has to end; then it is left behind, as its daemon thread keeps nothing alive."""


class Periodic:
    """Calls `run` every `interval` seconds until `close`. Whatever it raises is logged, and it is called again."""

    def __init__(self, run: Callable[[], None], interval: float, name: str) -> None:
        self._run, self._interval = run, interval
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call it no more."""
        self._closing.set()
        self._thread.join(JOIN_TIMEOUT)

    def _loop(self) -> None:
        while not self._closing.wait(self._interval):
            try:
                self._run()
            except (OSError, sqlite3.OperationalError):
                logging.getLogger("framepack").debug("%s is tried again", self._thread.name, exc_info=True)
            except Exception:
                logging.getLogger("framepack").exception("%s is tried again", self._thread.name)
