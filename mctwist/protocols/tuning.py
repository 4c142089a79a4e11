"""
The tuning verbs: `slabs`, `lru`, `lru_crawler`, `extstore`, `cache_memlimit`, `verbosity`.

Scripts tune a memcached with them and stop at anything but OK. So they answer what memcached
answers (proto_text.c), and what was set is shown by `stats settings`; but there are no slabs and
no LRU queues to be tuned, and so nothing is done. The exceptions are `cache_memlimit` and
`verbosity`, which do what they say.

Where memcached succeeds or fails by the state of its memory, here it succeeds. Of a word that names
what to tune it compares as many letters as were sent, so `lru m flat` is right.
"""

import re
from typing import Callable, Protocol

from mctwist.protocols.grammar import BAD_FORMAT, ClientError, PlainError, signed32, unsigned
from mctwist.protocols.replies import OK
from mctwist.protocols.statistics import yes


class Tuned(Protocol):
    """
    What is tuned, of a server.

    :ivar tuned: what was set, by the name that `stats settings` has for it.
    """

    @property
    def tuned(self) -> dict[str, object]: ...

    @property
    def set_limit(self) -> Callable[[int], bool]: ...

    @property
    def set_verbosity(self) -> Callable[[int], None]: ...


class Refusal(ClientError):
    """memcached has a word of its own for it."""

    def __init__(self, text: bytes) -> None:
        self.wire = text + b"\r\n"


_ERROR = PlainError()
_SAME = Refusal(b"SAME src and dst class are identical")
_BAD_CLASSES = Refusal(b"BADCLASS invalid src or dst class id")
_BAD_CLASS = Refusal(b"BADCLASS invalid class id")
_NO_CLASS = Refusal(b"NOTSTARTED no items to crawl")
_TOO_SMALL = Refusal(b"MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")
_NOT_MEGABYTES = Refusal(b"MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")
_NO_LIMIT = Refusal(b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")
_BAD_WINDOW = ClientError(b"automove window too low or too high")
_BAD_PARTS = PlainError(b"hot and warm pcts must not exceed 80")
_BAD_FACTORS = PlainError(b"hot/warm age factors must be greater than 0")
_DISABLED = ClientError(b"lru crawler disabled")
_BAD_SLEEP = ClientError(b"sleep must be one second or less")
_NOT_SO = PlainError(b"an unknown error happened")
_STARTED = PlainError(b"failed to start lru crawler thread")

#: Classes of slabs that memcached may have; 0 is its pool of free pages.
_CLASSES = 64
_NUMBER = re.compile(
    rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|[+-]?(?:inf(?:inity)?|nan)",
    re.IGNORECASE,
).fullmatch


def _means(words: list[bytes], place: int, name: bytes) -> bool:
    return len(words) > place and name.startswith(words[place])


def _fraction(word: bytes) -> float:
    if len(word) > 31 or not _NUMBER(word):
        raise _ERROR
    return float(word)


def slabs(server: Tuned, words: list[bytes]) -> bytes:
    """`slabs reassign SOURCE DESTINATION`, `slabs automove LEVEL|ratio|freeratio|window ...`."""
    if len(words) == 4 and _means(words, 1, b"reassign"):
        source, destination = (signed32(word, BAD_FORMAT) for word in words[2:])
        if source == destination:
            raise _SAME
        # A source of -1 is any.
        if not (-1 <= source < _CLASSES and 0 <= destination < _CLASSES):
            raise _BAD_CLASSES
    elif len(words) >= 3 and _means(words, 1, b"automove"):
        _automove(server.tuned, words)
    else:
        raise _ERROR
    return OK


def _automove(tuned: dict[str, object], words: list[bytes]) -> None:
    if _means(words, 2, b"ratio"):
        if len(words) < 4:
            raise _ERROR
        tuned["slab_automove_ratio"] = f"{_fraction(words[3]):.2f}"
    elif _means(words, 2, b"freeratio"):
        if len(words) < 4:
            raise _ERROR
        tuned["slab_automove_freeratio"] = f"{_fraction(words[3]):.3f}"
    elif _means(words, 2, b"window"):
        if len(words) < 4:
            raise BAD_FORMAT
        window = unsigned(words[3], 32, BAD_FORMAT)
        if not 3 <= window <= 1800:
            raise _BAD_WINDOW
        tuned["slab_automove_window"] = window
    else:
        level = unsigned(words[2], 32, BAD_FORMAT)
        if level > 2:
            raise _ERROR
        tuned["slab_automove"] = level


def lru(server: Tuned, words: list[bytes]) -> bytes:
    """`lru tune HOT WARM FACTOR FACTOR`, `lru mode flat|segmented`, `lru temp_ttl SECONDS`."""
    tuned = server.tuned
    if len(words) >= 6 and _means(words, 1, b"tune"):
        hot, warm = (unsigned(word, 32, _ERROR) for word in words[2:4])
        factors = [_fraction(word) for word in words[4:6]]
        if hot + warm > 80:
            raise _BAD_PARTS
        if min(factors) <= 0:
            raise _BAD_FACTORS
        tuned["hot_lru_pct"], tuned["warm_lru_pct"] = hot, warm
        tuned["hot_max_factor"], tuned["warm_max_factor"] = (f"{factor:.2f}" for factor in factors)
    elif len(words) >= 3 and _means(words, 1, b"mode"):
        if not (_means(words, 2, b"flat") or _means(words, 2, b"segmented")):
            raise _ERROR
        tuned["lru_segmented"] = yes(_means(words, 2, b"segmented"))
    elif len(words) >= 3 and _means(words, 1, b"temp_ttl"):
        seconds = signed32(words[2], _ERROR)
        tuned["temp_lru"] = yes(seconds >= 0)
        if seconds >= 0:
            tuned["temporary_ttl"] = seconds
    else:
        raise _ERROR
    return OK


def lru_crawler(server: Tuned, words: list[bytes]) -> bytes:
    """`lru_crawler enable|disable`, `lru_crawler sleep|tocrawl NUMBER`, `lru_crawler crawl ...`."""
    tuned = server.tuned
    if len(words) == 3 and _means(words, 1, b"crawl"):
        check_crawler(server)
        if words[2] == b"hash":
            raise _NOT_SO
        means_all(words[2])
    elif len(words) == 3 and _means(words, 1, b"tocrawl"):
        tuned["lru_crawler_tocrawl"] = unsigned(words[2], 32, BAD_FORMAT)
    elif len(words) == 3 and _means(words, 1, b"sleep"):
        sleep = unsigned(words[2], 32, BAD_FORMAT)
        if sleep > 1_000_000:
            raise _BAD_SLEEP
        tuned["lru_crawler_sleep"] = sleep
    elif len(words) == 2 and _means(words, 1, b"enable"):
        if _crawls(server):
            raise _STARTED
        tuned["lru_crawler"] = "yes"
    elif len(words) == 2 and _means(words, 1, b"disable"):
        tuned["lru_crawler"] = "no"
    else:
        raise _ERROR
    return OK


def _crawls(server: Tuned) -> bool:
    return server.tuned.get("lru_crawler", "yes") == "yes"


def check_crawler(server: Tuned) -> None:
    """Raises the answer of a server whose crawler has been disabled."""
    if not _crawls(server):
        raise _DISABLED


def means_all(word: bytes) -> bool:
    """
    Whether class 1, in which all items are, is one of the classes that `word` names.

    `all`, `hash`, or numbers with commas between (crawler.c, lru_crawler_crawl).
    """
    if word in (b"all", b"hash"):
        return True
    classes = [unsigned(number, 32, _BAD_CLASS) for number in word.split(b",") if number]
    if not classes:
        raise _NO_CLASS
    if not all(0 < number < _CLASSES for number in classes):
        raise _BAD_CLASS
    return 1 in classes


#: What of `extstore` takes a number of 32 bits.
_EXTSTORE = (
    b"item_size",
    b"item_age",
    b"low_ttl",
    b"recache_rate",
    b"compact_under",
    b"drop_under",
    b"max_sleep",
)


def extstore(server: Tuned, words: list[bytes]) -> bytes:
    """`extstore NAME NUMBER`."""
    tuned = server.tuned
    if len(words) < 3:
        raise _ERROR
    if len(words) > 3 and _means(words, 1, b"free_memchunks"):
        # Long without effect in memcached too.
        if unsigned(words[2], 32, _ERROR) >= _CLASSES:
            raise _ERROR
        unsigned(words[3], 32, _ERROR)
        return OK
    for name in _EXTSTORE:
        if _means(words, 1, name):
            tuned[f"ext_{name.decode()}"] = unsigned(words[2], 32, _ERROR)
            return OK
    if _means(words, 1, b"max_frag"):
        tuned["ext_max_frag"] = f"{_fraction(words[2]):.2f}"
    elif _means(words, 1, b"drop_unread"):
        tuned["ext_drop_unread"] = yes(unsigned(words[2], 32, _ERROR) > 0)
    else:
        raise _ERROR
    return OK


def cache_memlimit(server: Tuned, words: list[bytes]) -> bytes:
    """`cache_memlimit MEGABYTES`: how much the store may hold from now on."""
    if len(words) < 2:
        raise _ERROR
    megabytes = unsigned(words[1], 32, _ERROR)
    if megabytes < 8:
        raise _TOO_SMALL
    if megabytes > 1_000_000_000:
        raise _NOT_MEGABYTES
    if not server.set_limit(megabytes << 20):
        raise _NO_LIMIT
    return OK


def verbosity(server: Tuned, words: list[bytes]) -> bytes:
    """`verbosity LEVEL`; above 2 is 2."""
    if len(words) < 2:
        raise BAD_FORMAT
    level = min(unsigned(words[1], 32, BAD_FORMAT), 2)
    server.set_verbosity(level)
    server.tuned["verbosity"] = level
    return OK


#: The verbs; each takes the server and the words of its line and returns the answer.
VERBS: dict[bytes, Callable[[Tuned, list[bytes]], bytes]] = {
    b"slabs": slabs,
    b"lru": lru,
    b"lru_crawler": lru_crawler,
    b"extstore": extstore,
    b"cache_memlimit": cache_memlimit,
    b"verbosity": verbosity,
}
