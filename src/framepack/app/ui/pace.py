"""How often a tab looks at the service: every second while there are few, less often the more there are.

A look takes about 15 ms of the server, most of it Gradio's; 200 tabs that look every second are three times too many.
"""

import math
import threading
import time
from collections.abc import Callable

LOOK = 1.0
"""Seconds between looks of a tab while there are few."""
FEW = 10
"""Tabs that may look so often; of more, as many as that do in a second."""
GONE = 120.0
"""Seconds without a look after which a tab counts as closed."""


class Pace:
    """Of all tabs of a page. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked: dict[str, float] = {}
        self._lock = threading.Lock()

    def seconds(self, tab: str) -> float:
        """Until the tab that looks now should look again."""
        now = self._clock()
        with self._lock:
            self._looked.pop(tab, None)
            self._looked[tab] = now  # the one that has not looked for longest is the first
            while now - next(iter(self._looked.values())) > GONE:
                self._looked.pop(next(iter(self._looked)))
            return LOOK * math.ceil(len(self._looked) / FEW)
