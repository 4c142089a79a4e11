"""
How long an item has left.

It is asked for by `me`, which changes nothing: a `mg` of a stale item would take from its next
reader the right to make it anew.
"""

from typing import Optional

from mctwist.shell.repl import answers
from mctwist.shell.repl.commands import spell
from mctwist.shell.repl.session import Session

#: It is kept for ever.
NEVER = -1


def left_of(session: Session, key: bytes) -> Optional[int]:
    """Seconds that the item has left, or `NEVER`; None: there is none."""
    word, more = spell(key)
    answer = session.ask([b"me", word, *more], answers.meta, again=True)
    if answer.word != b"ME":
        return None
    told = dict(part.partition(b"=")[::2] for part in answer.more)
    left = int(told.get(b"exp", b"-1"))
    # memcached 1.6.18 has it the wrong way round: -100 is a hundred seconds.
    return left if left == NEVER else abs(left)


def written(seconds: int) -> str:
    """So many seconds, for people."""
    if seconds == NEVER:
        return "never"
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    if seconds or not parts:
        parts.append(f"{seconds}s")
    return " ".join(parts[:2])
