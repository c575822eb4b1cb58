"""Something small that is done every so often, on a thread of its own, while a service is open."""

import logging
import sqlite3
import threading
from collections.abc import Callable


class Chores:
    """Calls `work` every so many seconds until `close`; what goes wrong is tried again the next time."""

    def __init__(self, work: Callable[[], None], every: float) -> None:
        self._work, self._every = work, every
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Do no more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            try:
                self._work()
            except (OSError, sqlite3.OperationalError):
                logging.getLogger("framepack").warning("the folders could not be tidied", exc_info=True)
