"""Wrong passwords, counted by the address they come from: each more makes that address wait longer.

A wait is a refusal that says how long; nothing is compared meanwhile, so that guessing goes no faster by asking more.
The same wrong password again is no new guess (a tab that was open when the password changed asks every second).
"""

import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 5
"""Wrong passwords in a row that cost no wait: people mistype."""
LONGEST = 300.0
"""Seconds of the longest wait. The first is one second, each next is twice as long: 1,000 guesses take 3 days."""
FORGOTTEN = 24 * 3600.0
"""Seconds without a guess after which an address begins anew."""
MOST = 10_000
"""Addresses that are remembered; of more, those that guessed last."""


@dataclass
class Guesses:
    """Of one address."""

    count: int = 0
    last: float = 0.0
    until: float = 0.0
    given: bytes = b""
    """A keyed hash of the last one."""


class Attempts:
    """Of all addresses. For one thread, the server's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guesses: OrderedDict[str, Guesses] = OrderedDict()
        self._key = secrets.token_bytes(16)

    def wait(self, address: str) -> int:
        """Whole seconds until this address may try again; 0 for now."""
        found = self._guesses.get(network_of(address))
        return math.ceil(max(0.0, found.until - self._clock())) if found else 0

    def wrong(self, address: str, given: str) -> None:
        """Count a wrong password, unless it is the last one once more, and log it without what was given."""
        network, now = network_of(address), self._clock()
        found = self._guesses.pop(network, None)
        if found is None or now - found.last > FORGOTTEN:
            found = Guesses()
        self._guesses[network] = found
        while len(self._guesses) > MOST:
            self._guesses.popitem(last=False)
        digest = hmac.digest(self._key, given.encode(), hashlib.sha256)
        found.last = now
        if digest == found.given:
            return
        found.given = digest
        found.count += 1
        if found.count > FREE:
            found.until = now + min(LONGEST, 2.0 ** min(found.count - FREE - 1, 60))
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        log = logging.getLogger("framepack")
        log.warning("%s: wrong password from %s, %d in a row", stamp, printable(address), found.count)

    def right(self, address: str) -> None:
        """Forget what an address got wrong before."""
        self._guesses.pop(network_of(address), None)


def network_of(address: str) -> str:
    """Whose address it is: of IPv6 the first half, as one household has all of the other."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def printable(address: str) -> str:
    """An address as a log may have it: a client may have sent a proxy anything."""
    return address if address.isprintable() and len(address) <= 100 else ascii(address[:100])
