"""
The classic commands: memcached's doc/protocol.txt, in friendlier forms, and the server's tuning.

Flags, exptime and length, which a storage command has on its line, are options here, or counted.
"""

from pathlib import Path
from typing import Any, Optional

from mctwist.shell.output import seen
from mctwist.shell.repl import answers, editing
from mctwist.shell.repl.answers import Found, Refused
from mctwist.shell.repl.commands import Call, Command, Wrong, exptime, number, plain
from mctwist.shell.repl.screen import How
from mctwist.shell.repl.session import Left, Session
from mctwist.shell.repl.values import size_of

# A file that is not there, a home that nobody has, a name that none can have.
_UNREACHABLE = (OSError, RuntimeError, ValueError)

_EXPLAINED = {
    "NOT_STORED": {
        "add": "there is one already",
        "replace": "there is none",
        "append": "there is none to append to",
        "prepend": "there is none to prepend to",
    },
    "EXISTS": {"cas": "it has been changed: the CAS unique differs"},
}


# Storing


def value_of(call: Call) -> bytes:
    """
    The value that is typed, or that `--file` names.

    :raises Wrong: there is none.
    """
    path = call.options.get("file")
    if path is None:
        return call.data[1]
    try:
        return Path(path).expanduser().read_bytes()
    except _UNREACHABLE as fault:
        raise Wrong(f"{seen(path)}: {getattr(fault, 'strerror', None) or fault}") from None


def store(session: Session, call: Call) -> None:
    """set, add, replace, append, prepend."""
    if "edit" in call.options:
        editing.edit(session, call)
        return
    key, value = plain(call.data[0]), value_of(call)
    flags, ttl = call.options.get("flags", 0), call.options.get("ttl", 0)
    _store(session, call, [key, b"%d" % flags, b"%d" % ttl, b"%d" % len(value)], value)


def compare(session: Session, call: Call) -> None:
    """cas."""
    key, value = plain(call.data[0]), value_of(call)
    unique = number(call.words[-1])
    flags, ttl = call.options.get("flags", 0), call.options.get("ttl", 0)
    words = [key, b"%d" % flags, b"%d" % ttl, b"%d" % len(value), b"%d" % unique]
    _store(session, call, words, value)


def _store(session: Session, call: Call, words: "list[bytes]", value: bytes) -> None:
    name = call.command.name
    answer = session.ask([name.encode(), *words], answers.line, value)
    session.see([words[0]])
    word = answer.decode(errors="replace")
    session.screen.answer(word, _EXPLAINED.get(word, {}).get(name, ""))


# Fetching


def fetch(session: Session, call: Call) -> None:
    """get, gets."""
    _fetch(session, call, [], call.data, again=True)


def fetch_and_touch(session: Session, call: Call) -> None:
    """gat, gats."""
    _fetch(session, call, [b"%d" % exptime(call.words[0])], call.data[1:], again=False)


def _fetch(
    session: Session, call: Call, first: "list[bytes]", keys: "list[bytes]", again: bool
) -> None:
    if "output" in call.options and len(keys) > 1:
        raise Wrong("a file takes one value: say one KEY")
    name = call.command.name.encode()
    words = [name, *first, *map(plain, keys)]
    found: list[Found] = session.ask(words, answers.values, again=again)
    session.see(item.key for item in found)
    if "output" in call.options:
        keep(session, call, found[0].value if found else None)
        return
    there = {item.key: item for item in found}
    how = how_of(call, named=len(keys) > 1)
    for key in keys:
        if key in there:
            session.screen.found(there[key], how)
        else:
            session.screen.missing(key, how.named)


def how_of(call: Call, named: bool = False) -> How:
    """How `call` wants values shown."""
    options = call.options
    return How(options.get("as"), "all" in options, named, call.command.name in ("gets", "gats"))


def keep(session: Session, call: Call, value: Optional[bytes]) -> None:
    """
    Write a value into the file that `--output` names.

    :raises Wrong: there is none, or it cannot be written.
    """
    path = call.options["output"]
    if value is None:
        raise Wrong(f"not found: {seen(path)} is not written")
    try:
        Path(path).expanduser().write_bytes(value)
    except _UNREACHABLE as fault:
        raise Wrong(f"{seen(path)}: {getattr(fault, 'strerror', None) or fault}") from None
    session.screen.note(f"{size_of(len(value))} in {seen(path)}")


# One key


def count(session: Session, call: Call) -> None:
    """incr, decr."""
    delta = number(call.words[1]) if len(call.words) > 1 else 1
    key = plain(call.data[0])
    answer = session.ask([call.command.name.encode(), key, b"%d" % delta], answers.line)
    session.see([key])
    if answer.isdigit():
        session.screen.number(int(answer))
    else:
        session.screen.answer(answer.decode(errors="replace"))


def touch(session: Session, call: Call) -> None:
    """touch."""
    words = [b"touch", plain(call.data[0]), b"%d" % exptime(call.words[1])]
    _say(session, session.ask(words, answers.line))


def delete(session: Session, call: Call) -> None:
    """delete."""
    _say(session, session.ask([b"delete", plain(call.data[0])], answers.line))


def _say(session: Session, answer: bytes) -> None:
    session.screen.answer(answer.decode(errors="replace"))


# The server


def line(session: Session, call: Call) -> None:
    """What is sent as it is typed, and answered by a line."""
    words = [plain(word, "a word") for word in call.data]
    _say(session, session.ask([call.command.name.encode(), *words], answers.line))


def version(session: Session, call: Call) -> None:
    """version."""
    session.screen.answer(session.greet())


def flush_all(session: Session, call: Call) -> None:
    """flush_all."""
    agreed = "yes" in call.options or call.words
    if not agreed and not _agreed(session, f"delete everything on {session.wire.server}?"):
        return
    words = [b"flush_all", *(b"%d" % exptime(word) for word in call.words)]
    _say(session, session.ask(words, answers.line))
    session.keys.clear()


def flush_prefix(session: Session, call: Call) -> None:
    """flush_prefix."""
    _say(session, session.ask([b"flush_prefix", plain(call.words[0].data)], answers.line))


def _agreed(session: Session, question: str) -> bool:
    """Whether somebody says yes; who cannot be asked has said it by what was typed."""
    return session.keyboard.agrees(question) is not False


def stats(session: Session, call: Call) -> None:
    """stats."""
    words = [b"stats", *(plain(word, "a word") for word in call.data)]
    told = session.ask(words, answers.rows, again=True)
    rows, lines = [], []
    for line in told:
        kind, _, rest = line.partition(b" ")
        if kind == b"STAT":
            name, _, figure = rest.decode(errors="replace").partition(" ")
            rows.append((name, figure))
        elif line != b"END":
            lines.append(line)
    if rows:
        session.screen.rows(("name", "value"), rows)
    for line in lines:
        session.screen.line(line)


def crawl(session: Session, call: Call) -> None:
    """lru_crawler, whose dumps are long and told as they come."""
    words = [plain(word, "a word") for word in call.data]
    ends = {b"metadump": b"END", b"mgdump": b"EN"}
    if words[0] not in ends:
        line(session, call)
        return
    request = b" ".join([b"lru_crawler", *words]) + b"\r\n"
    with session.wire.streamed(request, session.wire.server.timeout) as heard:
        for told in answers.listed(heard, (ends[words[0]],)):
            if told not in (b"OK", ends[words[0]]):
                session.screen.line(told.rstrip())


def watch(session: Session, call: Call) -> None:
    """watch."""
    words = [plain(word, "a word") for word in call.data]
    left = call.options.get("limit")
    with session.wire.streamed(b" ".join([b"watch", *words]) + b"\r\n", None) as heard:
        _say(session, answers.line(heard))
        if left is None and session.screen.terminal:
            session.screen.note("Ctrl-C ends it")
        while left is None or left > 0:
            told = answers.line(heard)
            session.screen.line(told)
            session.screen.flush()
            left = None if left is None else left - 1


def shutdown(session: Session, call: Call) -> None:
    """shutdown."""
    words = [b"shutdown", *(plain(word, "a word") for word in call.data)]
    question = f"stop the server {session.wire.server}?"
    if "yes" not in call.options and not _agreed(session, question):
        return

    def read(heard: Any) -> bytes:
        # Where it does as it is told there is no answer.
        first: bytes = heard.readline()
        if first:
            raise Refused(first.rstrip())
        return first

    session.ask(words, read)
    session.wire.leave()
    session.screen.note("the server stops")


def leave(session: Session, call: Call) -> None:
    """exit, quit."""
    raise Left


_STORING = ("flags", "ttl", "file")
_SHOWING = ("as", "all", "output")
_KINDS = (
    *("evictions", "fetchers", "mutations", "connevents", "deletions"),
    *("rawcmds", "sysevents", "proxyreqs", "proxyevents", "proxyuser"),
)

COMMANDS = (
    Command(
        "set",
        "KEY VALUE",
        "store a value",
        store,
        "A value with spaces is quoted; \\xHH in it is any byte. The protocol's own form is taken "
        "as well: `set k 0 0 5`, and the value on the next line. What is edited keeps its flags "
        "and its TTL, and is only stored if nobody has changed it meanwhile.",
        (
            "set greeting hello",
            "set session:7 '{\"user\": 7}' --ttl 30m --flags 16",
            'set bytes "\\x00\\xff"',
        ),
        (*_STORING, "edit"),
    ),
    Command(
        "add",
        "KEY VALUE",
        "store a value, where there is none",
        store,
        "NOT_STORED says that there is one.",
        ("add lock mine --ttl 10",),
        _STORING,
    ),
    Command(
        "replace",
        "KEY VALUE",
        "store a value, where there is one",
        store,
        "NOT_STORED says that there is none.",
        ("set greeting hello", "replace greeting 'good morning'"),
        _STORING,
    ),
    Command(
        "append",
        "KEY VALUE",
        "add to the end of a value",
        store,
        "Flags and TTL stay as they were.",
        ("set log one", "append log ,two", "get log"),
        ("file",),
    ),
    Command(
        "prepend",
        "KEY VALUE",
        "add to the beginning of a value",
        store,
        "Flags and TTL stay as they were.",
        ("set log two", "prepend log one,", "get log"),
        ("file",),
    ),
    Command(
        "cas",
        "KEY VALUE UNIQUE",
        "store a value, if nobody has changed it since",
        compare,
        "UNIQUE is what gets has shown. EXISTS says that it has been changed meanwhile, "
        "NOT_FOUND that there is none.",
        ("set visits 1", "gets visits", "cas visits 2 1"),
        _STORING,
    ),
    Command(
        "get",
        "KEY…",
        "fetch values",
        fetch,
        "Flags are shown where they are not 0. `get k > PATH` writes the value into a file, "
        "byte for byte.",
        ("set greeting hello", "get greeting", "get greeting nothing", "get greeting --as hex"),
        _SHOWING,
    ),
    Command(
        "gets",
        "KEY…",
        "fetch values with their CAS uniques",
        fetch,
        "The CAS unique is another one after each change: what cas compares.",
        ("set greeting hello", "gets greeting"),
        _SHOWING,
    ),
    Command(
        "gat",
        "TTL KEY…",
        "fetch values and have them kept so long from now on",
        fetch_and_touch,
        "",
        ("set session:7 here", "gat 30m session:7"),
        _SHOWING,
    ),
    Command(
        "gats",
        "TTL KEY…",
        "as gat, with CAS uniques",
        fetch_and_touch,
        "",
        ("set session:7 here", "gats 30m session:7"),
        _SHOWING,
    ),
    Command(
        "incr",
        "KEY [DELTA]",
        "count up",
        count,
        "The value is to be a number in digits. Past 2^64 it begins at 0.",
        ("set visits 41", "incr visits", "incr visits 100"),
    ),
    Command(
        "decr",
        "KEY [DELTA]",
        "count down",
        count,
        "It stops at 0. A number that gets shorter keeps its length, with spaces behind it.",
        ("set visits 10", "decr visits", "get visits"),
    ),
    Command(
        "touch",
        "KEY TTL",
        "have a value kept so long from now on",
        touch,
        "0 is for ever. From a thousand million on it is a date, in seconds since 1970.",
        ("set greeting hello", "touch greeting 2h", "ttl greeting"),
    ),
    Command(
        "delete",
        "KEY",
        "delete a value",
        delete,
        "del takes several keys, and PREFIX*.",
        ("set greeting hello", "delete greeting"),
    ),
    Command(
        "flush_all",
        "[DELAY]",
        "delete everything",
        flush_all,
        "At a terminal it asks first. With a DELAY, once that is over.",
        ("flush_all --yes", "flush_all 1h"),
        ("yes",),
    ),
    Command(
        "flush_prefix",
        "PREFIX",
        "delete all keys that begin so, at once",
        flush_prefix,
        "However many there are. `del PREFIX*` counts and asks first, on any server.",
        ("set user:1 ann", "flush_prefix user:"),
        extension=True,
    ),
    Command(
        "stats",
        "[WHAT…]",
        "what the server counts",
        stats,
        "`stats settings`: how it is set up; `items`, `slabs`, `sizes`, `conns`; `storage`, of "
        "mctwist; `detail on|off|dump`: by prefix; `reset`: begin anew.",
        ("stats", "stats settings", "stats reset"),
        choices=(
            *("settings", "items", "slabs", "sizes", "conns", "storage", "extstore"),
            *("reset", "detail", "cachedump"),
        ),
    ),
    Command("version", "", "which server it is", version, "", ("version",)),
    Command(
        "verbosity",
        "LEVEL",
        "how much the server logs",
        line,
        "0 to 2.",
        ("verbosity 1", "verbosity 0"),
    ),
    Command(
        "cache_memlimit",
        "MEGABYTES",
        "how much the server may hold from now on",
        line,
        "",
        ("cache_memlimit 128",),
    ),
    Command(
        "lru_crawler",
        "WHAT [WORD…]",
        "the crawler, and its dumps of all keys",
        crawl,
        "`metadump all`: a line for each item; `mgdump all`: the same as commands; `crawl all`, "
        "`enable`, `disable`, `sleep N`, `tocrawl N`. keys shows the same for people.",
        ("lru_crawler metadump all", "lru_crawler tocrawl 0"),
        choices=("metadump", "mgdump", "crawl", "enable", "disable", "sleep", "tocrawl"),
    ),
    Command(
        "lru",
        "WHAT WORD…",
        "tune the eviction of memcached",
        line,
        "`mode flat|segmented`, `tune HOT WARM FACTOR FACTOR`, `temp_ttl SECONDS`. mctwist takes "
        "it, and does nothing.",
        ("lru mode segmented",),
        choices=("mode", "tune", "temp_ttl"),
    ),
    Command(
        "slabs",
        "WHAT WORD…",
        "tune the slabs of memcached",
        line,
        "`automove 0|1|2`, `reassign FROM TO`. mctwist takes it, and does nothing.",
        ("slabs automove 0",),
        choices=("automove", "reassign"),
    ),
    Command(
        "extstore",
        "WHAT N",
        "tune the extstore of memcached",
        line,
        "mctwist takes it, and does nothing.",
        ("extstore low_ttl 60",),
        choices=("item_age", "item_size", "low_ttl", "max_frag", "recache_rate"),
    ),
    Command(
        "watch",
        "[KIND…]",
        "see what the server does, as it does it",
        watch,
        "Ctrl-C ends it. Without a KIND it is fetchers.",
        ("watch fetchers mutations --limit 1",),
        ("limit",),
        choices=_KINDS,
    ),
    Command(
        "shutdown",
        "[graceful]",
        "stop the server",
        shutdown,
        "Only where it was started with -A. At a terminal it asks first.",
        (),
        ("yes",),
    ),
    Command("refresh_certs", "", "have the server read its certificates anew", line),
)
