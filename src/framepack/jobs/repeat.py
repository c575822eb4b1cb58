"""Something small that is done every so often, on a thread of its own, while a service is open."""

import logging
import sqlite3
import threading
from collections.abc import Callable

LAST = 2.0
"""Seconds that work under way has to end; then it is left behind, as its thread keeps nothing alive."""


class Repeat:
    """Calls `work` every so many seconds until `close`, whatever it raises: it is tried again the next time."""

    def __init__(self, work: Callable[[], None], every: float, name: str) -> None:
        self._work, self._every = work, every
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Do no more."""
        self._closing.set()
        self._thread.join(LAST)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            try:
                self._work()
            except (OSError, sqlite3.OperationalError):
                logging.getLogger("framepack").debug("%s is tried again", self._thread.name, exc_info=True)
            except Exception:
                logging.getLogger("framepack").exception("%s is tried again", self._thread.name)
