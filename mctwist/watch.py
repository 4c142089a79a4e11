"""
Who watches what the server does, and the lines that tell it: memcached's `watch` (logger.c).

What happens is an event of a kind, and an event is a line; a watcher gets the lines of the kinds
it has asked for. While nobody watches nothing is made: whoever has something to tell looks at
`active` first, once for everything that one instalment has done.

The rule: nobody waits for a watcher. A line for one that does not read is dropped and counted,
and the next line that it does get is preceded by how many those were.

The busiest keys (`hot`) are found out here too, of the same steps.

Two things differ from memcached. The look-up that it makes before it stores is not told as an
`item_get`, for nobody has fetched; and what has expired or been flushed is `not_found`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional, Union
from urllib.parse import quote_from_bytes

from mctwist import (
    meta_operations,
    operations,
    range_operations,
    redis_operations,
    simpledb_operations,
)
from mctwist.hot import HotKeys, Hottest
from mctwist.interfaces import Fetched, Operation, Results, Step, StoreFull
from mctwist.item import Entry, Item
from mctwist.stats import Stats

#: So many may watch (logger.c, WATCHER_LIMIT).
MOST_WATCHERS = 20

EVICTIONS, FETCHERS, MUTATIONS = b"evictions", b"fetchers", b"mutations"
CONNEVENTS, DELETIONS = b"connevents", b"deletions"

# All that memcached knows, in the order in which it compares (proto_text.c,
# process_watch_command); of the others there is nothing to tell here.
_KINDS = (
    *(b"rawcmds", EVICTIONS, FETCHERS, MUTATIONS, b"sysevents", CONNEVENTS),
    *(b"proxyreqs", b"proxyevents", b"proxyuser", DELETIONS),
)

# Between two looks at whether a watcher reads, a connection tells of this many steps.
_AT_ONCE = 100

#: Writes to a watcher, and says whether it did: not when the peer does not read.
Tell = Callable[[bytes], bool]
#: A kind, and its line from `type=` on.
Event = tuple[bytes, str]


class Watcher:
    """
    Somebody who watches.

    :ivar skipped: lines that it has missed since the last that it got.
    """

    __slots__ = ("kinds", "skipped", "tell")

    def __init__(self, kinds: "frozenset[bytes]", tell: Tell) -> None:
        self.kinds = kinds
        self.tell = tell
        self.skipped = 0


class Peer(NamedTuple):
    """
    A connection, as events name it.

    :ivar host: its address, or `unix`; :ivar transport: `tcp` or `local`.
    :ivar number: its file descriptor.
    """

    host: str
    port: int
    transport: str
    number: int


def kinds_of(words: "Sequence[bytes]") -> "Optional[frozenset[bytes]]":
    """What `watch` with these words, or their first letters, is about; None: nothing we know."""
    kinds = set()
    for word in words or [FETCHERS]:
        kind = next((kind for kind in _KINDS if kind.startswith(word)), None)
        if kind is None:
            return None
        kinds.add(kind)
    return frozenset(kinds)


class Watchers:
    """
    All who watch one server. To be used in the reactor's thread.

    :param seconds: the clock, since the epoch.
    :param on_eviction: as of `IStorage`.
    :ivar active: somebody watches, or wants to know the busiest keys.
    """

    def __init__(
        self,
        stats: Stats,
        seconds: Callable[[], float],
        on_eviction: "Callable[[Optional[Callable[[list[Entry]], None]]], object]" = lambda _: None,
    ) -> None:
        self.active = False
        self._stats = stats
        self._seconds = seconds
        self._on_eviction = on_eviction
        self._hot = HotKeys(seconds)
        self._watchers: list[Watcher] = []
        self._kinds: frozenset[bytes] = frozenset()
        self._gid = 0

    @property
    def full(self) -> bool:
        return len(self._watchers) >= MOST_WATCHERS

    def add(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)
        self._count()

    def remove(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            self._count()

    def _count(self) -> None:
        before = self._kinds
        self._kinds = frozenset().union(*(watcher.kinds for watcher in self._watchers))
        if (EVICTIONS in before) != (EVICTIONS in self._kinds):
            self._on_eviction(self.evicted if EVICTIONS in self._kinds else None)
        self._stats.log_watchers = len(self._watchers)
        self.active = bool(self._watchers) or self._hot.active

    def answered(self, number: int, steps: "Sequence[Step]", results: Results) -> None:
        """
        Tell what `steps` have come to.

        :param number: the file descriptor of the connection.
        """
        if self._hot.active:
            self._hot.count(_keys(steps))
            if not self._hot.active:
                self._count()
        if not self._watchers:
            return
        now = self._seconds()
        for start in range(0, len(results), _AT_ONCE):
            pairs = zip(steps[start : start + _AT_ONCE], results[start : start + _AT_ONCE])
            self._tell(now, self._events(pairs, number, now))

    def hottest(self) -> Hottest:
        """The busiest keys of the last seconds; from now on they are counted for a while."""
        hottest = self._hot.ask()
        self._count()
        return hottest

    def evicted(self, entries: "list[Entry]") -> None:
        """Tell what had to make room."""
        now = self._seconds()
        self._tell(now, (_eviction(entry, now) for entry in entries))

    def arrived(self, peer: Peer) -> None:
        """Tell of a new connection."""
        host, port, transport, number = peer
        text = f"type=conn_new rip={host} rport={port} transport={transport} cfd={number}"
        self._tell(self._seconds(), [(CONNEVENTS, text)])

    def left(self, peer: Peer, reason: str) -> None:
        """
        Tell of a connection that is closed.

        :param reason: `error`, `normal`, `idle_timeout` or `shutdown`.
        """
        host, port, transport, number = peer
        text = f"type=conn_close rip={host} rport={port} transport={transport}"
        self._tell(self._seconds(), [(CONNEVENTS, f"{text} reason={reason} cfd={number}")])

    def _tell(self, now: float, events: Iterable[Event]) -> None:
        whole = int(now)
        # memcached leaves out the zeros in front of the microseconds; with them it is a number.
        moment = f"ts={whole}.{int((now - whole) * 1_000_000):06d}"
        lines: list[tuple[bytes, bytes]] = []
        for kind, text in events:
            if kind in self._kinds:
                self._gid += 1
                lines.append((kind, f"{moment} gid={self._gid} {text}\n".encode()))
        if not lines:
            return
        self._stats.log_worker_written += len(lines)
        for watcher in list(self._watchers):
            wanted = [line for kind, line in lines if kind in watcher.kinds]
            if wanted:
                self._tell_one(watcher, wanted)

    def _tell_one(self, watcher: Watcher, lines: "list[bytes]") -> None:
        missed = b"skipped=%d\n" % watcher.skipped if watcher.skipped else b""
        if watcher.tell(missed + b"".join(lines)):
            watcher.skipped = 0
            self._stats.log_watcher_sent += len(lines)
        else:
            watcher.skipped += len(lines)
            self._stats.log_watcher_skipped += len(lines)

    def _events(
        self, pairs: "Iterable[tuple[Step, Any]]", number: int, now: float
    ) -> Iterator[Event]:
        for step, result in pairs:
            operation = step[0]
            if operation in _EVENTS and not isinstance(result, Exception):
                yield from _EVENTS[operation](step, result, number, now)
            elif operation in _STORES and isinstance(result, StoreFull):
                yield _store(step[1], "no_memory", _STORES[operation], number)


#: The keys of an operation that has several, by its arguments.
_KEYS: "dict[Operation, Callable[..., Iterable[bytes]]]" = {
    **dict.fromkeys(
        (redis_operations.fetch_many, redis_operations.delete_many, redis_operations.exist),
        lambda keys, *_: keys,
    ),
    redis_operations.store_many: lambda pairs, *_: (key for key, _ in pairs),
    **dict.fromkeys(
        (simpledb_operations.store_many, simpledb_operations.delete_many), lambda keys, *_: keys
    ),
}
# What of these is under the key is no key, but where a range begins.
_RANGES = frozenset({range_operations.read, range_operations.pop})


def _keys(steps: "Iterable[Step]") -> Iterator[bytes]:
    """The keys that `steps` are about."""
    for operation, key, arguments, _ in steps:
        if operation in _KEYS:
            yield from _KEYS[operation](*arguments)
        elif key and operation not in _RANGES:
            yield key


def _encoded(key: bytes) -> str:
    """`key` as memcached's uriencode has it."""
    return quote_from_bytes(key, safe="")


def _get(key: bytes, item: Optional[Item], number: int) -> Event:
    status, size = ("not_found", 0) if item is None else ("found", len(item.value))
    found = f"status={status} clsid={item is not None:d} cfd={number} size={size}"
    return FETCHERS, f"type=item_get key={_encoded(key)} {found}"


def _store(
    key: bytes, status: str, cmd: str, number: int, ttl: int = 0, size: Optional[int] = None
) -> Event:
    """:param size: None: there was no item to store."""
    text = f"type=item_store key={_encoded(key)} status={status} cmd={cmd} ttl={ttl}"
    return MUTATIONS, f"{text} clsid={size is not None:d} cfd={number} size={size or 0}"


def _eviction(entry: Entry, now: float) -> Event:
    expiry = entry.item.expiry
    ttl = _ttl(expiry, now) if expiry else -1
    used = f"fetch={'yes' if entry.fetched else 'no'} ttl={ttl} la={int(now - entry.accessed)}"
    return EVICTIONS, f"type=eviction key={_encoded(entry.key)} {used} clsid=1 size={entry.length}"


def _deletion(key: bytes, cmd: str, item: Item) -> Event:
    size = len(item.value)
    return DELETIONS, f"type=deleted key={_encoded(key)} cmd={cmd} clsid=1 size={size}"


def _ttl(expiry: int, now: float) -> int:
    """Seconds to go, begun ones too; 0: none are left."""
    return max(-((int(now * 1000) - expiry) // 1000), 0) if expiry else 0


# What each operation's result is told as: `(step, result, number, now)` to events.


def _fetched(step: Step, item: Optional[Item], number: int, now: float) -> Iterator[Event]:
    yield _get(step[1], item, number)


def _touched(step: Step, outcome: Any, number: int, now: float) -> Iterator[Event]:
    yield _get(step[1], outcome[1], number)


def _met(step: Step, found: Union[Item, Fetched, None], number: int, now: float) -> Iterator[Event]:
    if isinstance(found, Fetched):
        found = None if found.created else found.item
    yield _get(step[1], found, number)


def _deleted(step: Step, outcome: Any, number: int, now: float) -> Iterator[Event]:
    yield _get(step[1], outcome[1], number)
    if outcome[0] is operations.DELETED:
        # Only md has an argument: the state that it is about.
        yield _deletion(step[1], "md" if step[2] else "delete", outcome[1])


def _blanked(step: Step, outcome: Any, number: int, now: float) -> Iterator[Event]:
    key, (status, item) = step[1], outcome
    yield _get(key, item, number)
    if status in (operations.DELETED, operations.DONE):
        yield _store(key, "stored", "set", number, _ttl(item.expiry, now), 0)
    if status is operations.DELETED:
        yield _deletion(key, "md", item)


def _counted(step: Step, counted: Any, number: int, now: float) -> Iterator[Event]:
    key, (status, item, _) = step[1], counted
    created = status is operations.DONE
    yield _get(key, None if created else item, number)
    if created:
        yield _store(key, "stored", "add", number, _ttl(item.expiry, now), len(item.value))


def _popped(step: Step, item: Optional[Item], number: int, now: float) -> Iterator[Event]:
    yield _get(step[1], item, number)
    if item is not None:
        yield _deletion(step[1], "delete", item)


def _swapped(step: Step, item: Optional[Item], number: int, now: float) -> Iterator[Event]:
    yield _get(step[1], item, number)
    ttl = _ttl(item.expiry, now) if item is not None else 0
    yield _store(step[1], "stored", "set", number, ttl, len(step[2][0]))


def _updated(step: Step, result: Any, number: int, now: float) -> Iterator[Event]:
    if not isinstance(result, Item):
        return
    ttl, size = _ttl(result.expiry, now), len(result.value)
    yield _store(step[1], "stored", _STORES[step[0]], number, ttl, size)


def _stored_many(step: Step, count: int, number: int, now: float) -> Iterator[Event]:
    pairs, expiry = step[2]
    for key, (value, _) in pairs.items():
        yield _store(key, "stored", "set", number, _ttl(expiry, now), len(value))


def _refused(step: Step, result: Any, number: int, now: float) -> Iterator[Event]:
    yield _store(step[1], "too_large", step[2][0], number)


def _stored(step: Step, outcome: Any, number: int, now: float) -> Iterator[Event]:
    operation, key, arguments, _ = step
    status, item = outcome
    if status is operations.STORED:
        size, expiry = len(item.value), item.expiry
    else:
        # What was to be stored. An append has no expiry of its own.
        extends = operation in (operations.append, operations.prepend)
        size, expiry = len(arguments[0]), 0 if extends else arguments[2]
    word = status.value.replace(" ", "_")
    yield _store(key, word, _STORES[operation], number, _ttl(expiry, now), size)


# And of those that only Redis's clients ask for.


def _read(step: Step, result: Any, number: int, now: float) -> Iterator[Event]:
    if result is None or isinstance(result, Item):
        yield _get(step[1], result, number)


def _read_many(step: Step, many: Any, number: int, now: float) -> Iterator[Event]:
    for key, item in zip(step[2][0], many.results):
        yield _get(key, item, number)


def _set(step: Step, result: Any, number: int, now: float) -> Iterator[Event]:
    value, when = (*step[2], None)[:2]
    status = "stored" if result is operations.DONE else "not_stored"
    if len(step[2]) > 4 and step[2][4]:
        # What was there before is the result.
        yield from _read(step, result, number, now)
        status = "stored" if step[2][2] in (None, result is not None) else "not_stored"
    if not isinstance(result, redis_operations.Fault):
        ttl = _ttl(when.at(int(now * 1000)), now) if when is not None else 0
        yield _store(step[1], status, "set", number, ttl, len(value))


def _set_many(step: Step, result: Any, number: int, now: float) -> Iterator[Event]:
    status = "not_stored" if result == 0 else "stored"
    for key, value in step[2][0]:
        yield _store(key, status, "set", number, 0, len(value))


def _lengthened(step: Step, length: Any, number: int, now: float) -> Iterator[Event]:
    if isinstance(length, int):
        yield _store(step[1], "stored", _REDIS_STORES[step[0]], number, 0, length)


def _executed(step: Step, many: Any, number: int, now: float) -> Iterator[Event]:
    for each, result in zip(step[2][1], many.results if many is not None else ()):
        if each[0] in _EVENTS:
            yield from _EVENTS[each[0]](each, result, number, now)


#: The operations that change a value in place, and their names.
_REDIS_STORES: "dict[Operation, str]" = {
    redis_operations.append: "append",
    redis_operations.overwrite: "setrange",
}

#: The operations that store, and memcached's names for them.
_STORES: "dict[Operation, str]" = {
    operations.store: "set",
    operations.add: "add",
    operations.replace: "replace",
    operations.append: "append",
    operations.prepend: "prepend",
    operations.compare_and_swap: "cas",
    meta_operations.restore: "set",
    simpledb_operations.store: "set",
    simpledb_operations.add: "add",
    simpledb_operations.swap: "set",
    simpledb_operations.update: "append",
}

_EVENTS: "dict[Operation, Callable[[Step, Any, int, float], Iterator[Event]]]" = {
    operations.fetch: _fetched,
    operations.fetch_and_touch: _fetched,
    operations.touch: _touched,
    operations.increment: _touched,
    operations.decrement: _touched,
    operations.delete: _deleted,
    operations.refuse: _refused,
    meta_operations.look: _met,
    meta_operations.fetch: _met,
    meta_operations.inspect: _met,
    meta_operations.invalidate: _touched,
    meta_operations.blank: _blanked,
    meta_operations.count: _counted,
    **dict.fromkeys(_STORES, _stored),
    redis_operations.fetch_range: _read,
    redis_operations.fetch_and_delete: _read,
    redis_operations.fetch_and_expire: _read,
    redis_operations.fetch_many: _read_many,
    redis_operations.store: _set,
    redis_operations.store_many: _set_many,
    **dict.fromkeys(_REDIS_STORES, _lengthened),
    redis_operations.execute: _executed,
    simpledb_operations.pop: _popped,
    simpledb_operations.swap: _swapped,
    simpledb_operations.update: _updated,
    simpledb_operations.store_many: _stored_many,
}
