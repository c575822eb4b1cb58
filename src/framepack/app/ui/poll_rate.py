"""How often a tab polls the service: every second while few tabs are open, less often the more there are.

A poll takes about 15 ms of the server, most of it Gradio's. 200 tabs that poll every second are three times too many.
"""

import math
import threading
import time
from collections.abc import Callable

INTERVAL = 1.0
"""Seconds between a tab's polls while few tabs are open."""
FULL_RATE_TABS = 10
"""Up to so many tabs poll at that interval. More tabs share as many polls a second."""
CLOSED_AFTER = 120.0
"""Seconds without a poll after which a tab counts as closed."""


class PollRate:
    """For all tabs of a page. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._polled: dict[str, float] = {}
        self._lock = threading.Lock()

    def seconds(self, tab: str) -> float:
        """Seconds until the tab that polls now should poll again."""
        now = self._clock()
        with self._lock:
            self._polled.pop(tab, None)
            self._polled[tab] = now  # so the tab that polled longest ago is the first
            while now - next(iter(self._polled.values())) > CLOSED_AFTER:
                self._polled.pop(next(iter(self._polled)))
            return INTERVAL * math.ceil(len(self._polled) / FULL_RATE_TABS)
