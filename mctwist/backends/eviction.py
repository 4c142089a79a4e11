"""
Eviction: which items go when there are too many bytes of them.

The hand of `sieve` goes over the places from the oldest to the newest. It takes what nobody has
visited, and in one batch it does not go far: a store in which everything has been visited is not
gone through from end to end while a client waits. What is left to evict is for the next batch.
"""

from collections.abc import Generator
from contextlib import closing
from typing import Callable

from mctwist.backends.sieve import Sieve
from mctwist.backends.transaction import Transaction
from mctwist.item import Entry, without_value

#: One batch evicts so many items beside one for each that it writes, ...
MOST_VICTIMS = 500
#: ... and passes over so many for each of them.
MOST_SPARED = 20

InOrder = Callable[[int], "Generator[tuple[int, bytes], None, None]"]


def evict(transaction: Transaction, sieve: Sieve, allowed: int, in_order: InOrder) -> "list[Entry]":
    """
    Remove items until there are `allowed` bytes of them, or enough have gone for one batch.

    :param in_order: the places behind one, in order, and the keys that may be there.
    :return: what has gone; nothing: nothing could.
    """
    state = transaction.state
    victims: list[Entry] = []
    most = MOST_VICTIMS + 2 * transaction.written
    steps = most * MOST_SPARED
    for _ in range(2):
        with closing(in_order(state.hand)) as places:
            for place, key in places:
                state.hand = place
                steps -= 1
                item = None if sieve.spare(place) else transaction.evict(key, place)
                if item is not None:
                    accessed, fetched = transaction.accessed(item)
                    bare, length = without_value(item), len(item.value)
                    victims.append(Entry(key, bare, length, accessed, fetched))
                if state.stored <= allowed or len(victims) >= most or not steps:
                    return victims
        state.hand = 0  # behind the newest comes the oldest
        sieve.end_round()
    return victims
