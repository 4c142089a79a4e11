"""
What a check has found: how much there is, and what of it is damaged.

Damage is of a few kinds, each with how often it was met and where first: a key, percent-encoded,
a file, or what else tells people where to look.
"""

import os
from typing import Any, Union
from urllib.parse import quote_from_bytes

from mctwist.backends.state import State
from mctwist.item import KEPT, KEY_LENGTH, Item, size_in_memcached

#: How many places are told of each kind of damage.
TOLD = 5

#: What a state counts.
COUNTS = ("items", "size", "dead", "dead_size", "kept")

#: The kinds of damage.
DAMAGE = {
    "structure": "the file is not as LMDB makes it",
    "untrusted": "the machine went down while it was open with --sync never",
    "journal": "journals are broken, and batches are lost behind that",
    "state": "the record of the state does not verify",
    "prefixes": "the record of the flushed prefixes does not verify",
    "record": "records do not verify",
    "key": "keys that no item has",
    "number": "items with numbers that were not given out yet",
    "unplaced": "items that do not stand at their place",
    "place": "places of items that are not there",
    "untimed": "items that are not found by their expiry",
    "expiry": "expiries of items that are not there",
    "count": "counts of the state that are not of what is there",
    "file": "files that are of no item",
}


class Report:
    """
    :ivar items: that are live, expired ones included; :ivar size: their bytes, as memcached counts.
    :ivar dead: items that are flushed, and not yet swept; :ivar dead_size: their bytes.
    :ivar records: all that were read, damaged ones included.
    :ivar journals: how many; :ivar batches: in them.
    :ivar torn: the last batch was cut short, which is what a crash leaves.
    :ivar damage: of each kind how much, and where first.
    """

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = path
        self.records = 0
        self.items = self.size = self.dead = self.dead_size = self.kept = 0
        self.journals = self.batches = 0
        self.torn = False
        self.damage: dict[str, tuple[int, list[str]]] = {}

    @property
    def whole(self) -> bool:
        return not self.damage

    def found(self, kind: str, where: Union[bytes, str]) -> None:
        """There is damage of a kind."""
        count, places = self.damage.setdefault(kind, (0, []))
        if len(places) < TOLD:
            places.append(where if isinstance(where, str) else shown(where))
        self.damage[kind] = count + 1, places

    def count(self, key: bytes, item: Item, state: State) -> None:
        """There is an item; `state` is what the store knows of itself."""
        length = len(key)
        if not 0 < length <= KEY_LENGTH:
            self.found("key", key)
        if item.sequence > state.sequence or not 0 < item.place <= state.place:
            self.found("number", key)
        size = size_in_memcached(key, len(item.value), item.flags)
        if item.sequence > state.flushed:
            self.items += 1
            self.size += size
            if item.marks & KEPT:
                self.kept += size
        else:
            self.dead += 1
            self.dead_size += size

    def compare(self, state: State) -> None:
        """All is counted."""
        for name in COUNTS:
            says, there = getattr(state, name), getattr(self, name)
            if says != there:
                self.found("count", f"{name}: {says} instead of {there}")

    def as_json(self) -> "dict[str, Any]":
        return {
            "path": self.path,
            "kind": self.kind,
            "whole": self.whole,
            "items": self.items,
            "bytes": self.size,
            "flushed": self.dead,
            "records": self.records,
            "journals": self.journals,
            "batches": self.batches,
            "torn": self.torn,
            "damage": {
                kind: {"count": count, "first": places}
                for kind, (count, places) in self.damage.items()
            },
        }


def shown(key: bytes) -> str:
    """`key` for people: percent-encoded."""
    return quote_from_bytes(key, safe="!$&'()*+,/:;=?@[]")


def shown_name(name: str) -> str:
    """The name of a file for people, who are to find it: what cannot be printed is encoded."""
    return name if name.isprintable() else shown(os.fsencode(name))
