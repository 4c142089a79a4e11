"""
What a connection is given: what it works with, what it goes by, and what bounds it.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any, Callable, Optional

from attrs import field, frozen

from mctwist import hot, latency
from mctwist.interfaces import MOST_BYTES, MOST_STEPS, IStorage, IUsers
from mctwist.item import KEY_LENGTH
from mctwist.protocols import ranges, statistics
from mctwist.protocols.grammar import MOST_GET_LINE, MOST_LINE
from mctwist.protocols.listing import MOST_CACHEDUMP, Crawler
from mctwist.protocols.pipeline import CLOSE_TIMEOUT, MOST_WAITING
from mctwist.stats import MOST_PREFIX_BYTES, MOST_PREFIXES, Stats
from mctwist.watch import Watchers

#: Bytes that are read at once of somebody who has not said who he is: all that may have to wait
#: until that is known.
READ_OF_STRANGERS = 16 * 1024


@frozen
class Settings:
    """
    What of the server's options the dialects go by.

    :ivar max_item_size: bytes, as memcached counts an item.
    :ivar max_reply: bytes of the longest answer that has to be made at once.
    :ivar flush_enabled: flush_all and flush_prefix are allowed; :ivar watch_enabled: watch is.
    :ivar shutdown: called by the command of that name; None: it is not allowed.
    :ivar dump_enabled: what lists keys, or parts of them, is allowed.
    :ivar refresh_certs: reads the certificates of TLS anew; returns what is wrong with them, if
        something is. None: there is no TLS.
    :ivar set_verbosity: called with 0, 1 or 2.
    :ivar set_limit: called with the bytes that the store may hold from now on; returns whether
        that can be.
    :ivar told: what else the server was told, by the name that `stats settings` has for it.
    :ivar tuned: the same, set by clients while it runs; see `tuning`.
    :ivar crawler: whose turn it is to dump.
    """

    max_item_size: int = 1 << 20
    max_reply: int = 64 << 20
    flush_enabled: bool = True
    watch_enabled: bool = True
    shutdown: Optional[Callable[[], None]] = None
    dump_enabled: bool = True
    refresh_certs: Optional[Callable[[], Optional[str]]] = None
    set_verbosity: Callable[[int], None] = lambda level: None
    set_limit: Callable[[int], bool] = lambda size: True
    told: Mapping[str, object] = {}
    tuned: dict[str, object] = field(factory=dict)
    crawler: Crawler = field(factory=Crawler)

    def shown(self) -> "dict[str, object]":
        """What `stats settings` shows of these."""
        return {
            "item_size_max": self.max_item_size,
            "max_reply": self.max_reply,
            "flush_enabled": statistics.yes(self.flush_enabled),
            "dump_enabled": statistics.yes(self.dump_enabled),
            "shutdown_command": statistics.yes(self.shutdown is not None),
            **self.told,
            **self.tuned,
            **_BOUNDS,
            **ranges.BOUNDS,
        }


@frozen
class Services:
    """
    What a connection works with.

    :ivar reactor: IReactorTime.
    :ivar users: who may come in; None: everybody.
    :ivar numbers: what tells connections apart that are asked who they are.
    """

    storage: IStorage
    stats: Stats
    settings: Settings
    watchers: Watchers
    reactor: Any
    users: Optional[IUsers] = None
    numbers: Iterator[int] = field(factory=partial(count, 1))


#: What a client can make grow, and how far: shown by `stats settings`.
_BOUNDS: dict[str, object] = {
    "most_key": KEY_LENGTH,
    "most_line": MOST_LINE,
    "most_get_line": MOST_GET_LINE,
    "read_of_strangers": READ_OF_STRANGERS,
    "most_waiting": MOST_WAITING,
    "instalment_steps": MOST_STEPS,
    "instalment_bytes": MOST_BYTES,
    "close_timeout": int(CLOSE_TIMEOUT),
    "most_cachedump": MOST_CACHEDUMP,
    "most_prefixes": MOST_PREFIXES,
    "most_prefix_bytes": MOST_PREFIX_BYTES,
    "most_hot_keys": hot.MOST_KEYS,
    "hot_seconds": int(2 * hot.WINDOW),
    "latency_seconds": int(2 * latency.WINDOW),
}
