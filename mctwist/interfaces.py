"""
The contracts between the layers, and nothing else.

A dialect turns bytes into *steps*; a step is `(operation, key, arguments, render)`:

- `operation(transaction, key, *arguments)` is one of the pure functions of `operations`;
- `render(stats, key, result) -> bytes` spells its result on the wire; storage never looks at it.

Dialects hand lists of steps to an `IStorage`, which hands lists of such lists to an `IBackend`,
which runs them on an `ITransaction`. Times are milliseconds since the epoch throughout.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

from zope.interface import Attribute, Interface

from mctwist.item import BYTES, Entry, Item

Operation = Callable[..., Any]
Render = Callable[[Any, bytes, Any], bytes]
Step = tuple[Operation, bytes, tuple[Any, ...], Render]
Steps = Sequence[Step]
#: What a step came to: the operation's own result, or the exception that it ended in.
Results = list[Any]


class Fetched(NamedTuple):
    """
    What a fetch came to, where the item alone does not tell.

    :ivar item: as the fetch has left it.
    :ivar left: seconds to its expiry, begun ones too, when they were asked for; -1: it has none.
    :ivar idle: seconds since it was last fetched or written, before this.
    :ivar fetched: it had been, since it was written.
    :ivar sent: somebody else is to renew it; :ivar won: whoever has asked now is.
    :ivar created: there was none.
    """

    item: Item
    left: int = -1
    idle: int = 0
    fetched: bool = False
    sent: bool = False
    won: bool = False
    created: bool = False

    @property
    def value(self) -> bytes:
        return self.item.value


class Many(NamedTuple):
    """
    What a step of several commands or keys came to, which is never split.

    :ivar size: bytes of the values in :ivar results:.
    """

    results: "list[Any]"
    size: int


class Ranged(NamedTuple):
    """
    What was found in a range of keys.

    :ivar items: keys and items, in their order; none where only their number was asked for.
    :ivar more: there may be more behind them.
    :ivar number: how many there were.
    """

    items: list[tuple[bytes, Item]]
    more: bool
    number: int

    @property
    def value(self) -> bytes:
        return b"".join([item.value for _, item in self.items])


#: The results that hold a value: the bytes of an instalment are theirs, and those of a `Many`.
VALUED = (Item, Fetched, Ranged)

#: An instalment: the most steps, and the most bytes of values, that one list is run for at once.
MOST_STEPS = 1000
MOST_BYTES = 1 << 20


class Rights(NamedTuple):
    """
    What a user may do.

    :ivar read_only: may not write; :ivar prefix: may only reach keys that begin with it.
    """

    read_only: bool = False
    prefix: bytes = b""


class StorageError(Exception):
    """The store could not do what was asked. Its text is for people, not for the wire."""


class StoreFull(StorageError):
    """There is no room; reading, deleting and shrinking still work."""


class Unsupported(StorageError):
    """The backend has nothing of the kind."""

    def __init__(self) -> None:
        super().__init__("not supported by this backend")


class NotPermitted(Exception):
    """What is asked for is beyond the rights of who asks."""


class StartError(Exception):
    """The server cannot start. Its text is one line that says what to do."""


class NeedsWrite(Exception):
    """
    A step run on a snapshot wants to write, or has too much to look through; nothing of its list
    has been answered.
    """


class ITransaction(Interface):
    """What an operation sees: one state of the store, at one moment."""

    now: int = Attribute("Milliseconds since the epoch; the same for a whole batch.")
    visits: "dict[int, int]" = Attribute(
        "Where a step leaves `stamp` under the place of an item that it has fetched for a client."
    )
    stamp: int = Attribute("Of this moment.")
    sequence: int = Attribute("The number of the last write; the next one's is one above it.")
    held: int = Attribute("Bytes of values that a batch holds so far; 0 on a snapshot.")

    def get(key: bytes) -> Optional[Item]:
        """The item under `key` that is alive: stored, not expired, not flushed."""

    def accessed(item: Item) -> tuple[int, bool]:
        """
        When `item` was last fetched or written, in seconds since the epoch, and whether it has
        been fetched since it was written.
        """

    def put(
        key: bytes,
        value: bytes,
        flags: int,
        expiry: int,
        marks: int = 0,
        cas: Optional[int] = None,
        kind: int = BYTES,
    ) -> Item:
        """
        Replace what is under `key`.

        The item gets the next sequence number, and keeps the key's place or gets the next one.

        :param marks: bits of `Item.marks`. One with `KEPT` is never evicted; to overwrite it
            without that is to have it evicted as any other.
        :param cas: its CAS unique; None: the sequence number.
        :param kind: what the value is.
        :raises NeedsWrite: the transaction is a snapshot.
        :raises StoreFull: there is no room, and nothing may be evicted; or no room beside what is
            kept.
        """

    def restore(key: bytes, item: Item) -> Item:
        """
        Replace what is under `key` by what was an item elsewhere, with its kind, its marks, its
        CAS unique and the time of its last access. Raises as `put` does.

        Its sequence number and its place are new. The sequence numbers that follow are above its
        CAS unique, as far as that is below 2^62: so what is made of them, a CAS unique or the end
        of a key, is not what some state of it has had elsewhere.
        """

    def delete(key: bytes) -> None:
        """Remove what is under `key`, if anything. Raises as `put` does."""

    def flush(deadline: int) -> None:
        """
        From `deadline` on, everything stored before it is gone. Raises as `put` does.

        :param deadline: milliseconds since the epoch; one that has passed means now.
            It replaces a deadline that is still to come.
        """

    def flush_prefix(prefix: bytes) -> bool:
        """
        All that is stored under keys that begin with `prefix` is gone. Raises as `put` does.

        :return: whether it is; False: too many prefixes wait to be swept.
        """

    def counts() -> tuple[int, int]:
        """
        The live items, and their bytes as memcached counts them. Those that have expired, or
        are under a flushed prefix, count until they are swept.
        """


class IOrderedTransaction(ITransaction):
    """
    A transaction that sees its keys in their order, bytewise, with all that the batch has done to
    them so far. A backend that is not `ordered` answers `Unsupported`.
    """

    def first(start: bytes, end: bytes, last: bool = False) -> Optional[tuple[bytes, Item]]:
        """
        The lowest key of what is alive in `start <= key < end`, and its item; None: there is none.

        :param last: the highest instead.
        :raises Unsupported: the backend is not ordered.
        """

    def range(start: bytes, end: bytes, most: int, last: bool = False) -> list[tuple[bytes, Item]]:
        """
        The first `most` of what is alive in `start <= key < end`, from the lowest key up.

        :param last: from the highest key down instead.
        :raises Unsupported: the backend is not ordered.
        """


class IBackend(Interface):
    """
    A store of records. Its methods block; `IStorage` owns the threads that call them.

    `perform` is only ever called by one thread at a time, and so is `maintain`, perhaps while
    `perform` is at work; `read`, `walk` and `scan` by any.
    """

    name: str = Attribute("The kind, as in --storage KIND:ARG, with what it is on.")
    inline: bool = Attribute("Whether `read` may be called in the reactor: it does not block.")
    ordered: bool = Attribute("Whether its transactions provide `IOrderedTransaction`.")
    notice: Optional[str] = Attribute("What people must be told of the last opening, if anything.")
    due: bool = Attribute("Whether `maintain` has something to do.")
    pending: bool = Attribute(
        "Whether there is more to sweep or to evict: have `perform` run, with nothing if need be."
    )
    damaged: int = Attribute("How many reads met a record that did not verify, since `open`.")
    changed: int = Attribute(
        "When the store was last changed: milliseconds since the epoch; 0: never."
    )
    evicted: "Optional[Callable[[list[Entry]], None]]" = Attribute(
        "Called by `perform` with what it has evicted; None: nobody wants to know."
    )

    def open() -> None:
        """
        Take the store.

        :raises StartError: it is in use, not ours, damaged, or cannot be written.
        """

    def close() -> None:
        """Give the store back, whole. `open` may follow."""

    def perform(lists: Sequence[Steps], now: int) -> list[Results]:
        """
        Run the lists in order as one batch, durable when this returns.

        Each list is run as far as one instalment reaches, so a list of results may be shorter
        than its list of steps, also empty, but never all of them are. A step that fails has its
        exception as its result and no effect; its neighbours are not touched.

        What is dead is swept, and what is too much evicted, in bounded pieces by the way; so
        this is called once a second even where there are no lists.

        :raises StorageError: nothing of the batch has happened.
        """

    def read(steps: Steps, now: int, patient: bool = False) -> Results:
        """
        Run one instalment of `steps` on a snapshot.

        :param patient: the caller is a thread that may wait, and must hold up nobody else.
        :raises NeedsWrite: a step wants to write.
        """

    def walk(prefix: bytes, now: int, whole: bool = False) -> "Iterator[list[Entry]]":
        """
        What is live and has a key that begins with `prefix`, in no order, in short pieces.

        Each piece is read when it is asked for, so that no state of the store is held for long.
        What is stored all the while comes once, what comes or goes meanwhile may or may not.

        :param whole: with the values. A piece ends when it holds as many bytes of them as an
            instalment may.
        """

    def scan(cursor: int, most: int, now: int) -> tuple[list[Entry], int]:
        """
        The next of what is live, in the order in which the keys came: those whose places are
        beyond `cursor`.

        What is stored all the while is met by whoever goes on until the end, whatever is
        overwritten, written down or opened anew meanwhile: a key keeps its place.

        :param cursor: 0: from the beginning.
        :param most: of them at the most. There may be fewer, also none, before the end: what a
            call looks at is bounded.
        :return: them, and the cursor to go on from; 0: there is nothing more.
        """

    def written() -> Iterable[bytes]:
        """
        The keys under which the last `perform` has stored something, some perhaps more than once.
        To be taken before the next is called; it may be gone through later, by any thread.
        """

    def maintain() -> None:
        """
        Do what need not hold up a batch.

        :raises StorageError: it could not be done; it is still due.
        """

    def resize(limit: int) -> bool:
        """Have no more than `limit` bytes stored from now on. Returns whether that can be."""

    def live() -> tuple[int, int]:
        """As `ITransaction.counts`, as of the last batch."""

    def figures() -> Mapping[str, Any]:
        """What the store counts and measures, for `stats`; see `backends.tally`."""


class IStorage(Interface):
    """The store as the reactor sees it."""

    def now() -> int:
        """The store's time: milliseconds since the epoch, never less than it was before."""

    def read(steps: Steps) -> Optional[Results]:
        """
        The results of an instalment of `steps`, at once; None where that is not allowed, or
        where a step wants to write.
        """

    def submit(steps: Steps, reads_only: bool = False) -> Any:
        """
        Queue `steps` for the next batch.

        :return: a Deferred of the results of an instalment: at least one. It never fails: what
            failed is in the results.
        """

    def walk(prefix: bytes = b"", whole: bool = False) -> Any:
        """
        What is stored under keys that begin with `prefix`; else as `IBackend.walk`.

        :return: a function that is called for each piece, and returns a Deferred of a list of
            `Entry`, of what has not expired when it fires; of None at the end. It fails with
            `StorageError`.
        """

    def scan(cursor: int, most: int) -> Any:
        """
        As `IBackend.scan`.

        :return: a Deferred of the entries and the next cursor. It fails with `StorageError`.
        """

    def await_change(
        start: bytes, end: bytes, deadline: Optional[int] = None, consumes: bool = True
    ) -> Any:
        """
        Wait until something is stored under a key from `start` on and below `end`.

        Who asks as soon as he has been answered that there is nothing, in the same turn of the
        reactor, misses nothing: the batch that is being answered counts, and all after it. Who has
        been told looks again, and may find that somebody else was faster.

        First come, first served: each key that is written is told to one of those who wait to
        take it away, and to all who do not.

        :param deadline: milliseconds since the epoch, by `now`; None: there is none.
        :param consumes: who asks may take away what there is.
        :return: a Deferred of None, which fires after the commit, or at the deadline, or when the
            storage stops, or at once where too many wait already. It never fails; to cancel it
            is to wait no more.
        """

    def resize(limit: int) -> bool:
        """As `IBackend.resize`."""

    def on_eviction(callback: "Optional[Callable[[list[Entry]], None]]") -> None:
        """
        Have `callback` called, in the reactor, with what is evicted from now on; None: nobody.
        """

    def live() -> tuple[int, int]:
        """As `IBackend.live`."""

    def figures() -> Mapping[str, Any]:
        """As `IBackend.figures`, with the storage's own."""


class IUsers(Interface):
    """Who may come in. To be asked in the reactor's thread, by every dialect."""

    def check(name: bytes, password: bytes, peer: Optional[str], failures: int) -> Any:
        """
        Whether somebody who says to be `name` is.

        The answer takes its time: that of a costly hash, and a delay that grows with the failures
        of the connection and of its address. Only what was right before is answered at once.

        :param name: :param password: as the client has sent them, whatever that is.
        :param peer: the host of the connection's address; None: it came by a UNIX socket.
        :param failures: how many attempts of this connection have failed before.
        :return: a Deferred of the `Rights`; of None: refused. It never fails.
        """
