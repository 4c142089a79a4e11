"""What the shell can do of its own, besides what a server knows: one command for many, and help."""

from typing import Union

from rich.text import Text

from mctwist import client
from mctwist.shell.repl import answers
from mctwist.shell.repl.answers import Meta
from mctwist.shell.repl.classic import leave
from mctwist.shell.repl.commands import OPTIONS, Call, Command, Wrong, spell
from mctwist.shell.repl.keys import keys_of
from mctwist.shell.repl.session import Session
from mctwist.shell.repl.ttl import left_of, written
from mctwist.shell.repl.words import spelt

#: Keys that `keys` shows unless told, and commands that are sent before their answers are read.
MOST_SHOWN, _BATCH = 100, 1000
#: So many keys are deleted at once at most: they are counted, and so they are kept.
MOST_DELETED = 5_000_000


def tell_ttl(session: Session, call: Call) -> None:
    """ttl."""
    key = call.data[0]
    left = left_of(session, key)
    if left is None:
        session.screen.missing(key)
    else:
        session.see([key])
        session.screen.answer(str(_left(session, left)))


def _left(session: Session, seconds: int) -> "Union[str, int]":
    """For programs it is the number of the protocol, which has -1 for ever."""
    return written(seconds) if session.screen.terminal else seconds


def list_keys(session: Session, call: Call) -> None:
    """keys."""
    prefix = call.words[0].data if call.words else b""
    limit = call.options.get("limit", MOST_SHOWN)
    found = keys_of(session, prefix, limit, call.options.get("after"))
    rows = [(key.name, _left(session, key.left), key.size) for key in found.keys]
    session.see(key.name for key in found.keys)
    session.screen.rows(("key", "ttl", "bytes"), rows, ("bytes",))
    if found.more and found.ordered:
        last = spelt(found.keys[-1].name) if found.keys else ""
        session.screen.note(f"there are more: --after {last}, or --limit N")
    elif found.more:
        session.screen.note(f"there are more than {limit}: --limit N")
    elif not rows and session.screen.terminal:
        session.screen.note("no keys")


def delete(session: Session, call: Call) -> None:
    """del."""
    keys: list[bytes] = []
    for word in call.words:
        if word.starred:
            keys += _counted(session, call, word.data)
        elif b"*" in word.data and word.bare:
            raise Wrong("a star may only be the last of a PREFIX*; quote it, if it is of a key")
        else:
            keys.append(word.data)
    if not keys:
        return
    gone = sum(_delete(session, keys[at : at + _BATCH]) for at in range(0, len(keys), _BATCH))
    for key in keys:
        session.keys.pop(key, None)
    session.screen.answer(f"deleted {counted(gone)}")


def _counted(session: Session, call: Call, prefix: bytes) -> "list[bytes]":
    """The keys that begin with `prefix`, if somebody wants them deleted."""
    found = keys_of(session, prefix, MOST_DELETED, None)
    if not found.keys:
        session.screen.answer("deleted 0 keys")
        return []
    many = counted(len(found.keys))
    if found.more:
        many = f"{many} of more"
        session.screen.note(f"there are more than {len(found.keys):,}: say it again for the others")
    if "yes" not in call.options:
        agreed = session.keyboard.agrees(f"delete {many}?")
        if agreed is None:
            raise Wrong(f"that would delete {many}: say --yes")
        if not agreed:
            session.screen.note("nothing is deleted")
            return []
    return [key.name for key in found.keys]


def counted(number: int) -> str:
    return f"{number:,} key" if number == 1 else f"{number:,} keys"


def _delete(session: Session, keys: "list[bytes]") -> int:
    """Delete `keys` in one go; how many there were."""
    lines = []
    for key in keys:
        word, flags = spell(key)
        lines.append(b" ".join([b"md", word, *flags, b"q\r\n"]))
    # What is deleted is not answered; what was not there is.
    told: list[Meta] = session.wire.ask(b"".join(lines) + b"mn\r\n", answers.before_noop)
    return len(keys) - len(told)


def set_raw(session: Session, call: Call) -> None:
    """raw."""
    if call.words:
        if call.words[0].text not in ("on", "off"):
            raise Wrong(f"raw is on or off, or a line to be sent: {call.command.synopsis}")
        session.set_raw(call.words[0].text == "on")
    session.screen.answer(f"raw is {'on' if session.raw else 'off'}")


def connect(session: Session, call: Call) -> None:
    """connect."""
    try:
        address = client.address_of(call.words[0].text)
    except ValueError as fault:
        raise Wrong(str(fault)) from None
    session.connect(session.wire.server._replace(address=address))
    session.screen.answer(f"{session.wire.server}: {session.greet()}")


# Help


def tell(session: Session, call: Call) -> None:
    """help."""
    if not call.words:
        session.screen.text(_overview(session))
        return
    name = call.words[0].text
    topic = TOPICS.get(name)
    command = session.commands.get(name)
    if command is not None:
        session.screen.text(_page(command))
    elif topic is not None:
        session.screen.text(Text(topic))
    else:
        raise Wrong(f"there is no help on {name}: help tells what there is")


def _overview(session: Session) -> Text:
    text = Text()
    for title, names in CHAPTERS.items():
        text.append(f"{title}\n", "bold")
        for name in names:
            command = session.commands[name]
            text.append(f"  {name:<14}", "cyan")
            text.append(f" {command.summary}\n")
    text.append("help COMMAND", "bold")
    text.append(" tells more, with an example; also help quoting, help raw, help editing.")
    return text


def _page(command: Command) -> Text:
    text = Text()
    text.append(command.synopsis, "bold")
    text.append(f"\n{command.summary}")
    if command.extension:
        text.append(" (mctwist only)", "dim")
    if command.more:
        text.append(f"\n{command.more}")
    rows = [
        *((f"--{name}" + " " * bool(OPTIONS[name].takes) + OPTIONS[name].takes, OPTIONS[name].help)
          for name in command.options),
        *command.flags.items(),
    ]  # fmt: skip
    width = max((len(name) for name, _ in rows), default=0)
    for name, meaning in rows:
        text.append(f"\n  {name:<{width}}", "cyan")
        text.append(f"  {meaning}")
    for number, example in enumerate(command.examples):
        text.append("\n\nfor example" if not number else "", "dim")
        text.append(f"\n  {example}", "green")
    return text


TOPICS = {
    "quoting": r"""Words are separated by spaces.
  set k hello                 a word is what it is
  set k "two words\n"         in double quotes: \n \r \t \0 \" \\ and \xHH, any byte
  set k 'as {"it": "is"}'     in single quotes nothing is special
  set k {"a":1}               a quote within a word is a letter
  set k two\ words            outside of quotes the same escapes, and a space
  set k "a quote that is not closed goes on
  ... on the next line"
  set k "--edit"              what is quoted is no option
  del "x*"                    and no star""",
    "editing": """Tab completes commands, options, flags and keys that have been seen.
Up and Down go through the history, Ctrl-R searches it; Right takes what is suggested.
Ctrl-C clears the line, or stops what is running; Ctrl-D leaves.
The history is in $XDG_STATE_HOME/mctwist/history or ~/.mctwist_history, for your eyes only,
with the values that you have typed; a line that begins with a space is not kept, and with
--no-history none is.""",
}

CHAPTERS = {
    "Values": ["get", "set", "add", "replace", "append", "prepend", "cas", "gets", "delete"],
    "Time": ["ttl", "touch", "gat", "gats"],
    "Numbers": ["incr", "decr"],
    "Many": ["keys", "del", "flush_all", "flush_prefix"],
    "Meta": ["mg", "ms", "md", "ma", "me", "mn", "mr", "mp"],
    "Server": [
        "stats",
        "watch",
        "version",
        "verbosity",
        "cache_memlimit",
        "lru_crawler",
        "lru",
        "slabs",
        "extstore",
    ],
    "More of it": ["shutdown", "refresh_certs"],
    "Shell": ["raw", "connect", "help", "exit", "quit"],
}

COMMANDS = (
    Command(
        "ttl",
        "KEY",
        "how long a value is still kept",
        tell_ttl,
        "",
        ("set greeting hello --ttl 90", "ttl greeting"),
        own=True,
    ),
    Command(
        "keys",
        "[PREFIX]",
        "the keys that begin so",
        list_keys,
        "A hundred, unless --limit says otherwise. On mctwist they are in order, and --after goes "
        "on behind one; another server tells them as it finds them, with the bytes of all of the "
        "item.",
        ("set user:1 ann", "set user:2 bob", "keys user:", "keys --limit 1"),
        ("limit", "after"),
        own=True,
    ),
    Command(
        "del",
        "KEY…",
        "delete keys, or with PREFIX* all that begin so",
        delete,
        "Of PREFIX* the keys are counted first, and somebody is asked; `del *` is everything. "
        'A key that really ends with a star is quoted: del "x*".',
        ("set user:1 ann", "set user:2 bob", "del user:1 user:9", "del user:* --yes", 'del "x*"'),
        ("yes",),
        own=True,
    ),
    Command(
        "raw",
        "[on|off]",
        "show the bytes that go over the wire; or send a line as it is",
        set_raw,
        "With `raw on`, > is sent and < is answered, and a line that is no command is sent as it "
        "is. `raw LINE` sends LINE, whatever it is, and shows the answer; the value of a storage "
        "command is the next line.",
        ("raw on", "set greeting hello", "raw off", "raw get greeting"),
        choices=("on", "off"),
        own=True,
    ),
    Command(
        "connect",
        "ADDRESS",
        "speak with another server",
        connect,
        "HOST:PORT or unix:PATH; as the same user.",
        (),
        own=True,
    ),
    Command(
        "help",
        "[COMMAND]",
        "this, or more of a command",
        tell,
        "",
        ("help", "help set"),
        own=True,
    ),
    Command("exit", "", "leave; Ctrl-D does as well", leave, own=True),
    Command("quit", "", "leave", leave, own=True),
)
