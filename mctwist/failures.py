"""
How long whoever guesses passwords has to wait.

Each address has a count of the attempts from there that have failed. Three are free, the next
waits for a quarter of a second, and each one after it twice as long, up to eight seconds. The
rule: an attempt counts as failed from the moment it is made, until it has proven right; a
thousand made at the same time would otherwise each be the first.

A house has one IPv4 address, but 2 ** 64 of IPv6, so of these the network counts. All who come by
a UNIX socket are one. What is held is bounded: addresses are forgotten ten minutes after their
last attempt, and the oldest when there are too many.
"""

import ipaddress
from collections import OrderedDict
from typing import Any, Optional

from twisted.logger import Logger

#: Attempts that need not wait; then the delay of the first that does, and of all later, in seconds.
FREE, FIRST_DELAY, LAST_DELAY = 3, 0.25, 8.0
#: Seconds after its last attempt that an address is forgotten; and how many are known at most.
FORGOTTEN, MOST_ADDRESSES = 600.0, 10_000
#: Seconds between two lines of the log about one address.
PAUSE = 1.0


class Address:
    """
    Where attempts come from.

    :ivar failed: how many have; :ivar pending: how many have been made, and not answered.
    :ivar last: when the last was made. :ivar quiet: a line about it has just been logged.
    :ivar untold: failures since then.
    """

    __slots__ = ("failed", "last", "name", "pending", "quiet", "untold")

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = self.pending = self.untold = 0
        self.last = 0.0
        self.quiet = False


class Failures:
    """The attempts from everywhere. Failures are logged, a line a second for each address."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # In the order of their last attempts. From a dict's front it takes long to take many.
        self._addresses: OrderedDict[str, Address] = OrderedDict()

    def begin(self, peer: Optional[str]) -> Address:
        """
        An attempt is made, and has failed until `passed`.

        :param peer: the host; None: a UNIX socket.
        """
        now = self._reactor.seconds()
        self._forget(now)
        name = _place(peer)
        address = self._addresses.get(name)
        if address is None:
            if len(self._addresses) >= MOST_ADDRESSES:
                self._addresses.popitem(last=False)
            address = self._addresses[name] = Address(name)
        self._addresses.move_to_end(name)
        address.last = now
        address.pending += 1
        return address

    def delay(self, address: Address, failures: int) -> float:
        """
        How many seconds the attempt that was last begun from `address` has to wait.

        :param failures: of its connection, before.
        """
        before = max(address.failed + address.pending - 1, failures) - FREE
        # A power of two that is not wanted may be too large for a float.
        return 0.0 if before < 0 else min(FIRST_DELAY * 2 ** min(before, 16), LAST_DELAY)

    def passed(self, address: Address) -> None:
        """An attempt from there has proven right."""
        address.pending -= 1
        known = self._addresses.get(address.name) is address
        if known and not (address.pending or address.failed):
            del self._addresses[address.name]

    def failed(self, address: Address, name: bytes) -> None:
        """An attempt from there has not, and was made with `name`."""
        address.pending -= 1
        address.failed += 1
        if address.quiet:
            address.untold += 1
            return
        self.log.warn(
            "refused user {name} from {peer}; failures from there: {count}",
            # repr, for a name is what a stranger has sent: no line ends, no control characters.
            name=repr(name.decode("utf-8", "surrogateescape")),
            peer=address.name,
            count=address.failed,
        )
        self._be_quiet(address)

    def __len__(self) -> int:
        return len(self._addresses)

    def _be_quiet(self, address: Address) -> None:
        address.quiet = True
        self._reactor.callLater(PAUSE, self._tell, address)

    def _tell(self, address: Address) -> None:
        address.quiet = False
        if address.untold:
            self.log.warn(
                "refused {untold} more attempts from {peer}; failures from there: {count}",
                untold=address.untold,
                peer=address.name,
                count=address.failed,
            )
            address.untold = 0
            self._be_quiet(address)

    def _forget(self, now: float) -> None:
        addresses = self._addresses
        while addresses and now - next(iter(addresses.values())).last >= FORGOTTEN:
            addresses.popitem(last=False)


def _place(peer: Optional[str]) -> str:
    if peer is None:
        return "a UNIX socket"
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    # A socket that takes both kinds spells IPv4 so.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
