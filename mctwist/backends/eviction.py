"""
Eviction: which items go when there are too many bytes of them.

Items stay in the order of their places, which is the order in which they came, and two hands go
over them, as in S3-FIFO (Yang and others, SOSP 2023) with SIEVE (Zhang and others, NSDI 2024) for
its larger part:

    oldest |   established   hand ->        | gate ->   young | newest

While a tenth of all items or more is young, the gate moves: what has been visited since it came is
established from then on, what has not is evicted. Else the hand moves, from the oldest to the gate
and begins again, and `sieve` says whom it spares. So what is asked for once, a scan above all,
takes up a tenth of the room and no more. Who was evicted too early is known again by a ghost of
his key when he comes back, and counts as visited from the first.

What must be kept both hands pass over. Where the oldest are nearly all of that kind, the hand would
go far for every item that it finds; then the young go early.

In one batch neither goes far: a store in which everything has been visited is not gone through
from end to end while a client waits. What is left to evict is for the next batch.
"""

from collections.abc import Generator
from typing import Callable

from mctwist.backends.sieve import Sieve
from mctwist.backends.transaction import Change, Transaction
from mctwist.item import Entry, without_value

#: The part of the items that is young.
YOUNG = 0.1

#: One batch evicts so many items beside two for each that it writes, or so many bytes beside
#: twice what it adds, ...
MOST_VICTIMS = 500
MOST_BYTES = 1 << 20
#: ... and passes over so many for each of them, ...
MOST_SPARED = 20
#: ... but over no more than so many that must be kept, beside two for each item that it writes,
#: before it turns to the young; where it writes nothing nobody waits for it, and it may be more.
FEW_KEPT, MOST_KEPT = 20, 1000

#: The places behind one, in order, and the keys that may be there.
InOrder = Callable[[int], "Generator[tuple[int, bytes], None, None]"]


def evict(transaction: Transaction, sieve: Sieve, allowed: int, in_order: InOrder) -> "list[Entry]":
    """
    Remove items until there are `allowed` bytes of them, or enough have gone for one batch.

    :return: what has gone; nothing: nothing could.
    """
    state = transaction.state
    victims: list[Entry] = []
    kept = 0
    most_kept = FEW_KEPT + 2 * transaction.written if transaction.written else MOST_KEPT
    most = MOST_VICTIMS + 2 * transaction.written
    least = max(allowed, state.stored - MOST_BYTES - 2 * transaction.growth)
    steps = most * MOST_SPARED
    young, old = in_order(state.gate), in_order(state.hand)
    try:
        rounds = 0
        while state.stored > least and len(victims) < most and steps:
            steps -= 1
            found = None
            if kept > most_kept or state.place - state.gate > YOUNG * state.items:
                found = next(young, None)
            is_young = found is not None
            if found is not None:
                place, key = found
                state.gate = place
                item = None if sieve.admit(place) else transaction.at(key, place)
            elif kept > most_kept:
                break
            else:
                found = next(old, None)
                if found is None or found[0] > state.gate:
                    # Behind the newest of them comes the oldest.
                    rounds += 1
                    if rounds > 1 and (state.gate == 0 or not victims):
                        break
                    sieve.end_round(state.gate)
                    old.close()
                    state.hand, old = 0, in_order(0)
                    continue
                place, key = found
                state.hand = place
                item = None if sieve.spare(place) else transaction.at(key, place)
            if item is not None and transaction.must_stay(key, item):
                kept += 1
            elif item is not None:
                transaction.delete(key)
                if is_young:
                    sieve.remember(key)
                accessed, fetched = transaction.accessed(item)
                bare, length = without_value(item), len(item.value)
                victims.append(Entry(key, bare, length, accessed, fetched))
    finally:
        young.close()
        old.close()
    return victims


def welcome(changes: "list[Change]", sieve: Sieve) -> None:
    """Know again who of those that have come was evicted not long ago."""
    if sieve.has_ghosts:
        for key, new, old in changes:
            if old is None and new is not None and sieve.knows(key):
                sieve.visit(new.place)
