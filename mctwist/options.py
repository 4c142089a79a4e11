"""
The options of `twistd mctwist`: memcached's, with its letters, and a few of our own.

Whoever moves from memcached keeps his command line. So every option of memcached 1.6 is taken:
it does what fits, or it is warned of once, at the start, that it has no meaning here. Options
that promise protection which is not there are refused, for a server that only seemed protected
would be worse than none.
"""

import os
import re
from typing import Any, ClassVar, NoReturn, Optional

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins
from twisted.python import usage

from mctwist.log import FORMATS, LEVELS
from mctwist.stats import VERSION

UsageError = usage.UsageError

DEFAULT_PORT = 11211
SYNC = ("always", "relaxed", "never")
INLINE_READS = ("auto", "always", "never")

_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SMALLEST_ITEM, _LARGEST_ITEM = 1 << 10, 1 << 30
_LARGEST_STORE = 1 << 44

#: Options of memcached that have no meaning here: letter, name, what it takes, and why not.
_MEANINGLESS = [
    ("U", "udp-port", "PORT", "UDP is not served"),
    ("k", "lock-memory", None, "the system's page cache holds the items"),
    ("r", "enable-coredumps", None, "use `ulimit -c`"),
    ("f", "slab-growth-factor", "FACTOR", "there are no slabs"),
    ("n", "slab-min-size", "BYTES", "there are no slabs"),
    ("L", "enable-largepages", None, "there are no slabs"),
    ("t", "threads", "COUNT", "one thread serves, one writes"),
    ("C", "disable-cas", None, "every item has its CAS"),
    ("e", "memory-file", "FILE", "the store is a file already; see --storage"),
    ("N", "napi-ids", "COUNT", "one thread serves"),
    (None, "napi_ids", "COUNT", "one thread serves"),
    ("d", "daemon", None, "twistd is a daemon unless it is told `twistd -n`"),
    ("u", "user", "USER", "use `twistd --uid USER mctwist`"),
    ("P", "pidfile", "FILE", "use `twistd --pidfile FILE mctwist`"),
]
#: Values of those that ask for what is the case anyway.
_HARMLESS = {("udp-port", "0"), ("threads", "1")}

#: Options of memcached that would protect, and do not yet.
_PROTECTIVE = [
    ("S", "enable-sasl", None, "SASL"),
    ("Y", "auth-file", "FILE", "authentication"),
    ("Z", "enable-ssl", None, "TLS by option (listen on an endpoint instead: -l ssl:PORT:...)"),
]


def size_of(text: str) -> int:
    """The bytes that `text` names: a whole number, and perhaps k, m or g."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size: give bytes, or a number with k, m or g")
    return int(match[1]) * _UNITS[match[2].lower()]


def _natural(name: str, largest: int, smallest: int = 0) -> Any:
    def coerce(text: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,9}", text) and smallest <= int(text) <= largest:
            return int(text)
        raise UsageError(f"--{name} takes a number from {smallest} to {largest}, not {text!r}")

    return coerce


def _size(name: str, smallest: int = 0) -> Any:
    def coerce(text: str) -> int:
        try:
            size = size_of(text)
        except UsageError as error:
            raise UsageError(f"--{name}: {error}") from None
        if not smallest <= size <= _LARGEST_STORE:
            raise UsageError(f"--{name}: {text} is out of bounds")
        return size

    return coerce


def _one_of(name: str, choices: "tuple[str, ...]") -> Any:
    def coerce(text: str) -> str:
        if text in choices:
            return text
        raise UsageError(f"--{name} takes one of {', '.join(choices)}, not {text!r}")

    return coerce


def _character(text: str) -> bytes:
    """The first byte, as memcached takes it."""
    if text:
        return os.fsencode(text)[:1]
    raise UsageError("--stat-key-prefix takes a character")


def _octal(text: str) -> int:
    if re.fullmatch(r"[0-7]{1,4}", text):
        return int(text, 8)
    raise UsageError(f"--unix-mask takes an octal mode such as 700, not {text!r}")


def endpoint_kinds() -> "frozenset[str]":
    """What Twisted's server endpoint strings may begin with."""
    plugins = {plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)}
    return frozenset(plugins | {"tcp", "unix", "ssl"})


class Options(usage.Options):
    """
    What the server is told. Values are checked here; what they name is not looked at.

    `self["listen"]` is a list of `(dialect, where)`; `where` is `(interface, port)` for TCP or
    an endpoint string. `self["storage"]` is `(kind, argument)`. Sizes are bytes.
    """

    synopsis = "[options]"
    longdesc = (
        "A memcached server whose values survive. Options have memcached's letters and names "
        "where memcached has them. Start it with `twistd -n --pidfile= mctwist` to stay in the "
        "foreground."
    )

    optParameters: ClassVar[list[Any]] = [
        ["port", "p", str(DEFAULT_PORT), "TCP port; 0: none, -1: a free one.",
         _natural("port", 65535, -1)],
        ["interface", None, "127.0.0.1", "Address that --port is bound to."],
        ["unix-socket", "s", None, "UNIX socket to listen on, instead of --port."],
        ["unix-mask", "a", "700", "Mode of the UNIX socket, octal.", _octal],
        ["listen-backlog", "b", "1024", "Connections that may wait to be accepted.",
         _natural("listen-backlog", 1 << 20, 1)],
        ["protocol", "B", "auto", "Protocol of --port: auto or ascii."],
        ["conn-limit", "c", "1024", "Connections at the same time; more are refused in words.",
         _natural("conn-limit", 1 << 20, 1)],
        ["stat-key-prefix", "D", None, "Count commands by the part of their keys before this "
         "character, from the start; see `stats detail`.", _character],
        ["max-reqs-per-event", "R", "20", "Accepted; requests take turns by themselves.",
         _natural("max-reqs-per-event", 1 << 30)],
        ["idle-timeout", None, "0", "Seconds after which a connection is closed on which nothing "
         "happens; 0: never.", _natural("idle-timeout", 1 << 20)],
        ["stop-timeout", None, "10", "Seconds that stopping takes at most, also when clients do "
         "not read their answers.", _natural("stop-timeout", 3600, 1)],
        ["max-item-size", "I", "1m", "Largest item, its key and header included.",
         _size("max-item-size")],
        ["storage", None, "mctwist-data",
         "Where values are kept: [KIND:]ARG, as lmdb:PATH (a bare path is that), "
         "directory:PATH, memory:."],
        ["storage-limit", None, "10g", "Bytes of items above which the store evicts; on disk "
         "they take up to 1.3 times as much.", _size("storage-limit", 1 << 20)],
        ["memory-limit", "m", None, "memcached's spelling of --storage-limit, in megabytes.",
         _natural("memory-limit", 1 << 24, 1)],
        ["sync", None, "always", "What a power cut may take: always (nothing), relaxed (the "
         "last commit), never (the store).", _one_of("sync", SYNC)],
        ["inline-reads", None, "auto", "Whether the reactor reads the store itself: auto (while "
         "it fits well into memory), always, never.", _one_of("inline-reads", INLINE_READS)],
        ["ports-file", None, None, "File to write the addresses to that were really bound."],
        ["log-format", None, "text", "text or json.", _one_of("log-format", FORMATS)],
        ["log-level", None, "info", "Level from which events are logged.",
         _one_of("log-level", LEVELS)],
        *[[name, letter, None, f"Accepted; {why}."] for letter, name, takes, why in _MEANINGLESS
          if takes],
        *[[name, letter, None, f"Refused: no {what}."] for letter, name, takes, what in _PROTECTIVE
          if takes],
    ]  # fmt: skip

    optFlags: ClassVar[list[Any]] = [
        ["enable-shutdown", "A", "Allow the shutdown command."],
        ["disable-flush-all", "F", "Refuse the flush_all and flush_prefix commands."],
        ["disable-evictions", "M", "At the limit refuse what grows, and evict nothing."],
        ["disable-watch", "W", "Refuse the watch command."],
        ["disable-dumping", "X", "Refuse what lists keys: lru_crawler metadump and mgdump, stats "
         "cachedump, and stats detail."],
        *[[name, letter, f"Accepted; {why}."] for letter, name, takes, why in _MEANINGLESS
          if not takes],
        *[[name, letter, f"Refused: no {what}."] for letter, name, takes, what in _PROTECTIVE
          if not takes],
    ]  # fmt: skip

    compData = usage.Completions()

    def __init__(self) -> None:
        super().__init__()
        # usage.Options coerces what is given, and leaves defaults as they are written.
        for name, _, default, _, *coerce in self.optParameters:
            if coerce and default is not None:
                self[name] = coerce[0](default)
        self["listen"] = []
        self["verbose"] = 0
        self.warnings: list[str] = []

    def opt_listen(self, value: str) -> None:
        """
        Listen there instead of on --port; repeatable. memcached's form, ADDRESS[:PORT] with
        commas between several, or [DIALECT=]ENDPOINT with any Twisted server endpoint, such as
        text=unix:/run/mctwist.sock, ssl:11212:privateKey=..., systemd:domain=INET:index=0.
        """
        dialect, equals, rest = value.partition("=")
        if equals and re.fullmatch("[a-z]+", dialect):
            self["listen"].append((dialect, rest))
        elif value.partition(":")[0] in endpoint_kinds():
            self["listen"].append(("text", value))
        else:
            for address in value.split(","):
                self["listen"].append(("text", _address(address)))

    opt_l = opt_listen

    def opt_extended(self, value: str) -> None:
        """
        memcached's list of further options, with commas between them. idle_timeout=SECONDS is
        --idle-timeout; the others tune memcached's own memory.
        """
        for word in value.split(","):
            name, _, argument = word.strip().partition("=")
            if name == "idle_timeout":
                self["idle-timeout"] = _natural("extended idle_timeout", 1 << 20)(argument)
            elif name:
                self.warnings.append(
                    f"--extended {name} has no meaning here: it tunes memcached's own memory"
                )

    opt_o = opt_extended

    def opt_verbose(self) -> None:
        """Log more; -vv is the same."""
        self["verbose"] += 1

    opt_v = opt_verbose

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"mctwist {VERSION}")
        raise SystemExit(0)

    opt_V = opt_version

    def opt_license(self) -> NoReturn:
        """Print where the licence is and exit."""
        print("The licence is in the metadata of the package: see `pip show --verbose mctwist`.")
        raise SystemExit(0)

    opt_i = opt_license

    def opt_help(self) -> NoReturn:
        """Print this and exit."""
        print(self)
        raise SystemExit(0)

    opt_h = opt_help

    def parseOptions(self, options: Optional[Any] = None) -> None:
        """
        :raises SystemExit: with one line, where twistd would print all options first.
        """
        try:
            super().parseOptions(options)
        except UsageError as error:
            raise SystemExit(f"mctwist: {error} (see twistd mctwist --help)") from None

    def parseArgs(self, *words: str) -> None:
        if words:
            raise UsageError(f"{words[0]!r} is not an option")

    def postOptions(self) -> None:
        for _, name, _, what in _PROTECTIVE:
            if self[name]:
                raise UsageError(f"--{name}: there is no {what}")
        if self["protocol"] not in ("auto", "ascii"):
            raise UsageError(f"--protocol {self['protocol']}: only auto and ascii are spoken")
        if not _SMALLEST_ITEM <= self["max-item-size"] <= _LARGEST_ITEM:
            raise UsageError("--max-item-size takes a size from 1k to 1g")
        for _, name, _, why in _MEANINGLESS:
            if self[name] and (name, self[name]) not in _HARMLESS:
                self.warnings.append(f"--{name} has no meaning here: {why}")
        if self["memory-limit"] is not None:
            self["storage-limit"] = self["memory-limit"] << 20
        kind, colon, argument = self["storage"].partition(":")
        self["storage"] = (kind, argument) if colon else ("lmdb", self["storage"])
        self._choose_listeners()

    def _choose_listeners(self) -> None:
        port = self["port"]
        listen = [
            (dialect, (where[0], port if where[1] is None else where[1]))
            if isinstance(where, tuple)
            else (dialect, where)
            for dialect, where in self["listen"]
        ]
        path = self["unix-socket"]
        if path is not None:
            mode = oct(self["unix-mask"])[2:]
            listen.append(("text", f"unix:{_quoted(os.path.abspath(path))}:mode={mode}"))
        elif not listen:
            listen.append(("text", (self["interface"], port)))
        # A port of 0 means none; what is left is -1, a free one, which sockets call 0.
        self["listen"] = [
            (dialect, (where[0], max(where[1], 0)) if isinstance(where, tuple) else where)
            for dialect, where in listen
            if not (isinstance(where, tuple) and where[1] == 0)
        ]
        if not self["listen"]:
            raise UsageError("there is nothing to listen on: give a --port or --listen")


def _address(text: str) -> "tuple[str, Optional[int]]":
    """memcached's ADDRESS[:PORT]; an IPv6 address with a port stands in brackets."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\](?::([0-9]{1,5}))?", text)
    if match is None and text.count(":") > 1:
        match = re.fullmatch(r"([0-9A-Fa-f:.]+)()", text)
    if match is None:
        match = re.fullmatch(r"([^:\s/=]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise UsageError(f"--listen {text!r} is neither an address nor an endpoint")
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65535:
        raise UsageError(f"--listen {text!r}: there is no such port")
    return match[1], port


def _quoted(argument: str) -> str:
    """`argument` as it stands in an endpoint string."""
    return argument.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")
