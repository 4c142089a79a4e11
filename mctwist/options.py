"""
The options of `twistd mctwist`: memcached's, with its letters, and a few of our own.

Whoever moves from memcached keeps his command line. So every option of memcached 1.6 is taken:
it does what fits, or it is warned of once, at the start, that it has no meaning here. What only
seems to protect is refused, for such a server would be worse than none: certificates without TLS,
SASL without users, a dialect past which nobody would be asked who he is.
"""

import os
import re
from typing import Any, ClassVar, NoReturn, Optional

from twisted.python import usage

from mctwist.listen import Listen, listeners, unix
from mctwist.log import FORMATS, LEVELS
from mctwist.stats import VERSION

UsageError = usage.UsageError

DEFAULT_PORT = 11211
SYNC = ("always", "relaxed", "never")
INLINE_READS = ("auto", "always", "never")

#: What --protocol takes, in memcached's words, and the dialect that each is.
PROTOCOLS = {"auto": "auto", "ascii": "text", "binary": "binary"}

#: By this a memcached with its own password database is told of it (sasl_defs.c).
SASL_FILE = "MEMCACHED_SASL_PWDB"

_SIZE = re.compile(r"([0-9]{1,15})([kmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SMALLEST_ITEM, _LARGEST_ITEM = 1 << 10, 1 << 30
_LARGEST_STORE = 1 << 44

#: Options of memcached that have no meaning here: letter, name, what it takes, and why not.
_MEANINGLESS = [
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
_HARMLESS = {("threads", "1")}


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


def _path(name: str) -> Any:
    def coerce(text: str) -> str:
        if text:
            return text
        raise UsageError(f"--{name} takes the name of a file")

    return coerce


def _no_port(text: str) -> int:
    if re.fullmatch("0+", text):
        return 0
    raise UsageError(
        "--udp-port takes 0 only: UDP is not served, for others could be flooded by it"
    )


def _character(text: str) -> bytes:
    """The first byte, as memcached takes it."""
    if text:
        return os.fsencode(text)[:1]
    raise UsageError("--stat-key-prefix takes a character")


def _octal(text: str) -> int:
    if re.fullmatch(r"[0-7]{1,4}", text):
        return int(text, 8)
    raise UsageError(f"--unix-mask takes an octal mode such as 700, not {text!r}")


#: What is told of TLS, besides --enable-ssl: in memcached's spelling too, ssl_key for ssl-key.
_TLS: "list[list[Any]]" = [
    ["ssl-chain-cert", None, None, "Certificate, and behind it those that vouch for it; PEM.",
     _path("ssl-chain-cert")],
    ["ssl-key", None, None, "Its private key.", _path("ssl-key")],
    ["ssl-keyformat", None, "1", "Format of the key: 1 (PEM) or 2 (DER).",
     _natural("ssl-keyformat", 2, 1)],
    ["ssl-ca-cert", None, None, "Who vouches for the certificates of clients; PEM.",
     _path("ssl-ca-cert")],
    ["ssl-verify-mode", None, "0", "Certificates of clients: 0 (none), 1 (verified where there is "
     "one), 2 or 3 (required).", _natural("ssl-verify-mode", 3)],
    ["ssl-min-version", None, "2", "Oldest TLS that is spoken: 0 (1.0), 1 (1.1), 2 (1.2), "
     "3 (1.3).", _natural("ssl-min-version", 3)],
    ["ssl-ciphers", None, None, "Ciphers of TLS up to 1.2, as OpenSSL lists them."],
]  # fmt: skip


class Options(usage.Options):
    """
    What the server is told. Values are checked here; what they name is not looked at.

    `self["listen"]` is a list of `Listen`, each with a dialect. `self["auth-file"]` is where the
    users are; None: nobody is asked. `self["storage"]` is `(kind, argument)`. Sizes are bytes.
    """

    synopsis = "[options]"
    longdesc = (
        "A memcached server whose values survive. Options have memcached's letters and names "
        "where memcached has them. Start it with `twistd -n --pidfile= mctwist` to stay in the "
        "foreground."
    )

    optParameters: ClassVar[list[Any]] = [
        ["port", "p", None, f"TCP port, {DEFAULT_PORT} unless told; 0: none, -1: a free one.",
         _natural("port", 65535, -1)],
        ["interface", None, "127.0.0.1", "Address that --port is bound to."],
        ["unix-socket", "s", None, "UNIX socket to listen on; TCP too only if --port or "
         "--listen is given."],
        ["unix-mask", "a", "700", "Mode of the UNIX socket, octal.", _octal],
        ["listen-backlog", "b", "1024", "Connections that may wait to be accepted.",
         _natural("listen-backlog", 1 << 20, 1)],
        ["udp-port", "U", "0", "0: UDP is not served.", _no_port],
        ["protocol", "B", "auto", "What is spoken where --listen does not say: auto, ascii or "
         "binary.", _one_of("protocol", tuple(PROTOCOLS))],
        ["auth-file", "Y", None, "Users and their passwords; nobody else is served.",
         _path("auth-file")],
        *_TLS,
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
        ["max-reply", None, "64m", "Longest answer that has to be made at once, as to Redis's "
         "MGET, KEYS and EXEC.", _size("max-reply", 1 << 10)],
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
    ]  # fmt: skip

    optFlags: ClassVar[list[Any]] = [
        ["enable-ssl", "Z", "TLS on every TCP address that is not notls:ADDRESS."],
        ["enable-sasl", "S", "Serve the binary protocol only, to users, unless --auth-file opens "
         "the others to them; without it they are those of the file that the environment names by "
         f"{SASL_FILE}."],
        ["enable-shutdown", "A", "Allow the shutdown command."],
        ["disable-flush-all", "F", "Refuse the flush_all and flush_prefix commands."],
        ["disable-evictions", "M", "At the limit refuse what grows, and evict nothing."],
        ["disable-watch", "W", "Refuse the watch command."],
        ["disable-dumping", "X", "Refuse what lists keys: lru_crawler metadump, mgdump and "
         "itemdump, stats cachedump, and stats detail."],
        *[[name, letter, f"Accepted; {why}."] for letter, name, takes, why in _MEANINGLESS
          if not takes],
    ]  # fmt: skip

    compData = usage.Completions()

    def __init__(self) -> None:
        super().__init__()
        # usage.Options coerces what is given, and leaves defaults as they are written.
        for name, _, default, _, *coerce in self.optParameters:
            if coerce and default is not None:
                self[name] = coerce[0](default)
        self["verbose"] = 0
        self._listen: list[str] = []
        self.warnings: list[str] = []

    def opt_listen(self, value: str) -> None:
        """
        Listen there instead of on --port; repeatable. memcached's form, ADDRESS[:PORT] with
        commas between several (and notls: before what is not to be TLS), or any Twisted server
        endpoint, such as unix:/run/mctwist.sock, ssl:11212:privateKey=...,
        systemd:domain=INET:index=0, haproxy:tcp:11211. Before either may stand the dialect and an
        equals sign, as text=127.0.0.1; text,anonymous= asks for no user there.
        """
        self._listen.append(value)

    opt_l = opt_listen

    def opt_extended(self, value: str) -> None:
        """
        memcached's list of further options, with commas between them. idle_timeout=SECONDS is
        --idle-timeout, ssl_key=FILE is --ssl-key, and so on; others tune memcached's memory.
        """
        for word in value.split(","):
            name, _, argument = word.strip().partition("=")
            if name in _EXTENDED:
                option, *coerce = _EXTENDED[name]
                try:
                    self[option] = coerce[0](argument) if coerce else argument
                except UsageError as error:
                    raise UsageError(f"--extended {name}: {error}") from None
            elif name:
                what = "TLS" if name.startswith("ssl_") else "memory"
                self.warnings.append(
                    f"--extended {name} has no meaning here: it tunes memcached's own {what}"
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
        if not _SMALLEST_ITEM <= self["max-item-size"] <= _LARGEST_ITEM:
            raise UsageError("--max-item-size takes a size from 1k to 1g")
        for _, name, _, why in _MEANINGLESS:
            if self[name] and (name, self[name]) not in _HARMLESS:
                self.warnings.append(f"--{name} has no meaning here: {why}")
        if self["memory-limit"] is not None:
            self["storage-limit"] = self["memory-limit"] << 20
        kind, colon, argument = self["storage"].partition(":")
        self["storage"] = (kind, argument) if colon else ("lmdb", self["storage"])
        self._check_tls()
        self._choose_listeners()

    def _check_tls(self) -> None:
        told = [name for name, _, default, *_ in _TLS if str(self[name]) != str(default)]
        if not self["enable-ssl"]:
            if told:
                raise UsageError(f"--{told[0]}: nothing is TLS without --enable-ssl")
            return
        for name in ("ssl-chain-cert", "ssl-key"):
            if name not in told:
                raise UsageError(f"--enable-ssl needs --{name}")
        if self["ssl-verify-mode"] and "ssl-ca-cert" not in told:
            raise UsageError("--ssl-verify-mode needs --ssl-ca-cert: who vouches for clients?")
        if "ssl-ca-cert" in told and not self["ssl-verify-mode"]:
            self.warnings.append(
                "--ssl-ca-cert alone asks clients for nothing: give --ssl-verify-mode 2 as well"
            )

    def _choose_listeners(self) -> None:
        tls = bool(self["enable-ssl"])
        dialect = PROTOCOLS[self["protocol"]]
        path, told = self["unix-socket"], self["port"] is not None
        port = self["port"] if told else DEFAULT_PORT
        self["port"] = port
        found = [each for word in self._listen for each in listeners(word, dialect, port, tls)]
        if not self._listen and (told or path is None):
            found.append(Listen(dialect, (self["interface"], port), tls))
        if path is not None:
            found.append(Listen(dialect, unix(os.path.abspath(path), self["unix-mask"])))
        # A port of 0 means none; what is left is -1, a free one, which sockets call 0.
        self["listen"] = listen = [
            each._replace(where=(each.where[0], max(each.where[1], 0)))
            if isinstance(each.where, tuple)
            else each
            for each in found
            if not (isinstance(each.where, tuple) and each.where[1] == 0)
        ]
        if not listen:
            raise UsageError("there is nothing to listen on: give a --port or --listen")
        if tls:
            self._tell_of_clear(listen)
        if self["enable-sasl"]:
            self["listen"] = self._with_sasl(listen)

    def _tell_of_clear(self, listen: "list[Listen]") -> None:
        if not any(each.tls for each in listen):
            raise UsageError("--enable-ssl: there is no TCP address that would be TLS")
        self.warnings += [
            f"--listen {each.where} is not TLS: what passes there is in clear"
            for each in listen
            if isinstance(each.where, str) and not (each.tls or each.where.startswith("unix:"))
        ]

    def _with_sasl(self, listen: "list[Listen]") -> "list[Listen]":
        """Those of `listen`, with what --enable-sasl makes of them."""
        if self["protocol"] == "ascii":
            raise UsageError("--enable-sasl: there is no SASL in --protocol ascii")
        if self["auth-file"] is not None:
            return listen
        self["auth-file"] = os.environ.get(SASL_FILE) or None
        if self["auth-file"] is None:
            raise UsageError(
                f"--enable-sasl needs users: give an --auth-file, or name one in {SASL_FILE}"
            )
        chosen = [
            each._replace(dialect="binary") if each.dialect == "auto" else each for each in listen
        ]
        for each in chosen:
            if each.dialect != "binary" and not each.anonymous:
                raise UsageError(
                    f"--listen {each.dialect}=: --enable-sasl without --auth-file serves binary "
                    "only"
                )
        return chosen


#: The further options (-o) that there are here: the option that each is, and what checks its value.
_EXTENDED: "dict[str, tuple[Any, ...]]" = {
    row[0].replace("-", "_"): (row[0], *row[4:])
    for row in Options.optParameters
    if row[0] == "idle-timeout" or row in _TLS
}
