"""
A file for each key, to be read by hand: a line of what is known of the item, then the value.

    items/NAME      the files; NAME is the key, percent-encoded, or for a long one its
                    beginning, `~`, and its SHA-256
    incoming/NAME   files on their way
    journal         the names of a batch whose files are all complete in incoming/

A batch first writes its files to `incoming` and syncs them; then the journal, in one piece: from
there on the batch has happened. Then each file is renamed to its place, and the journal removed.
Opening finishes a journal that is whole and drops one that is torn, with whatever else is in
`incoming`. So a full disk is met before anything has changed, and a file is never half new.

It is meant for looking into and for small stores: every key costs a file, every write a few
syncs.
"""

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Callable, Optional
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

from zope.interface import implementer

from mctwist.backends.eviction import evict, welcome
from mctwist.backends.folder import Folder, sync_directory
from mctwist.backends.places import scan
from mctwist.backends.rounds import Rounds
from mctwist.backends.sieve import MOST_VISITS, Sieve
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tally import Tally
from mctwist.backends.transaction import (
    Change,
    Snapshot,
    Transaction,
    in_pieces,
    listed,
    look,
    run,
    run_alone,
)
from mctwist.interfaces import IBackend, Results, StartError, Steps, StorageError, StoreFull
from mctwist.item import DamagedRecord, Entry, Item

#: The format of the files.
FORMAT = 2
DEFAULT_LIMIT = 10 << 30

#: A walk lists so many items in one go.
PIECE = 100

_LONGEST_NAME = 200
_PREFIX = 100
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FIELDS = Item._fields[:-1]
_LINE = re.compile(rb"mctwist (\d+) crc=([0-9a-f]{8}) ([^\n]*)\n")


def name_of(key: bytes) -> str:
    """The name of the file of `key`: no two keys share one, and every file system takes it."""
    name = quote_from_bytes(key, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_PREFIX]}~{sha256(key).hexdigest()}"


def key_of(name: str, content: bytes) -> Optional[bytes]:
    """
    The key of the file `name`.

    :param content: with what the file begins, which is needed where the name is only the
        beginning of the key. None: it does not say.
    """
    if "~" not in name:
        return unquote_to_bytes(name)
    match = _LINE.match(content)
    words = match[3].rpartition(b" key=") if match else None
    return unquote_to_bytes(words[2]) if words else None


def encode_file(key: bytes, item: Item) -> bytes:
    """The file of `item` under `key`."""
    fields = " ".join(f"{name}={getattr(item, name)}" for name in _FIELDS)
    line = f"{fields} length={len(item.value)} key={quote_from_bytes(key, safe='')}\n"
    checksum = crc32(item.value, crc32(line.encode()))
    return f"mctwist {FORMAT} crc={checksum:08x} {line}".encode() + item.value


def decode_file(key: bytes, content: bytes) -> Item:
    """
    The item that `encode_file` made `content` of.

    :raises DamagedRecord: it is not whole, not of this key, or of another version.
    """
    match = _LINE.match(content)
    if match is None or int(match[1]) != FORMAT:
        raise DamagedRecord("not a file of an item")
    value = content[match.end() :]
    if crc32(value, crc32(match[3] + b"\n")) != int(match[2], 16):
        raise DamagedRecord("the checksum of a file does not verify")
    fields = dict(word.split(b"=", 1) for word in match[3].split(b" "))
    if unquote_to_bytes(fields[b"key"]) != key:
        raise DamagedRecord("a file is not of the key it is named for")
    return Item._make((*(int(fields[name.encode()]) for name in _FIELDS), value))


def journal_in(root: Path) -> "Optional[tuple[list[str], list[str], bytes]]":
    """
    The batch that has happened and is not finished: the names of files that come from `incoming`,
    of those that go, and the record of the state. None: there is no journal that is whole.
    """
    body = _unsealed(root / "journal")
    if body is None:
        return None
    journal = json.loads(body)
    return journal["moves"], journal["removals"], bytes.fromhex(journal["state"])


def state_in(root: Path, journalled: Optional[bytes] = None) -> State:
    """
    The state of the store in the directory `root`.

    :param journalled: its record from a journal, which counts more.
    :raises DamagedRecord: it does not verify.
    """
    if journalled is not None:
        return _decoded(journalled)
    body = _unsealed(root / "state")
    if body is None and (root / "state").exists():
        raise DamagedRecord("its file `state` is damaged: mctwist check --repair makes it anew")
    return _decoded(bytes.fromhex(body.decode())) if body else State()


def write_state(root: Path, state: State) -> None:
    """Replace the record of the state, durably."""
    new = root / "state.new"
    with open(new, "wb") as file:
        file.write(_sealed(_encoded(state).hex().encode()))
        file.flush()
        os.fsync(file.fileno())
    new.replace(root / "state")
    sync_directory(root)


@implementer(IBackend)
class DirectoryBackend:
    """
    :param sync: "always" and "relaxed" sync every batch; "never" none.
    :param limit: bytes of items, as memcached counts them, above which nothing may grow.
    :param evicts: above the limit items are evicted; if not, what would grow is refused.
    """

    inline = False
    ordered = False

    def __init__(
        self, path: str, sync: str = "always", limit: int = DEFAULT_LIMIT, evicts: bool = True
    ) -> None:
        self.name = f"directory:{path}"
        self.damaged = 0
        self.evicted: Optional[Callable[[list[Entry]], None]] = None
        self._limit = limit
        self._evicts = evicts
        self._folder = Folder(path, "directory", FORMAT)
        self._synced = sync != "never"
        self._root = Path(path).absolute()
        self._items = self._root / "items"
        self._incoming = self._root / "incoming"
        self._journal = self._root / "journal"
        self._state = State()
        self._begin_sweep()
        self._open = False
        self._changing = Lock()  # held by what changes the files
        self._lock = Lock()  # held while a batch appears, and while several keys are read
        self._interrupted = False  # a batch has failed on its way to the files

    def _begin_sweep(self) -> None:
        # When an item was last accessed is known for as long as the process lives.
        self._sieve = Sieve()
        self._tally = Tally()
        self._changes: list[Change] = []  # of the last batch
        self._in_vain = False  # there was nothing to evict
        self._rounds = Rounds(self._keys, self._in_order, self._tally)

    def open(self) -> None:
        self.damaged = 0
        self._begin_sweep()
        self._folder.take(unsynced=not self._synced)
        try:
            self._items.mkdir(exist_ok=True)
            self._incoming.mkdir(exist_ok=True)
            self._recover()
            if self._folder.new:
                self._folder.made()
        except (OSError, StorageError, DamagedRecord) as fault:
            self._folder.release()
            raise StartError(f"cannot open the store {self._root}: {fault}") from None
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            if not self._synced:
                os.sync()
            self._folder.leave()

    @property
    def notice(self) -> Optional[str]:
        return self._folder.notice

    @property
    def changed(self) -> int:
        return self._state.now

    def live(self) -> tuple[int, int]:
        return self._state.items, self._state.size

    def read(self, steps: Steps, now: int, patient: bool = False) -> Results:
        self._check_open()
        if self._interrupted:
            # The files may show half a batch: it is for the next one to put that right.
            raise StorageError("a batch has been interrupted")
        with self._lock:
            return look(self._snapshot(now), steps)

    def _snapshot(self, now: int) -> Snapshot:
        return Snapshot(self._read, self._sieve.stamp_of, self._sieve, self._state, now)

    def walk(self, prefix: bytes, now: int, whole: bool = False) -> "Iterator[list[Entry]]":
        self._check_open()
        keys = (key for key in self._keys() if key.startswith(prefix))
        yield from in_pieces(keys, PIECE, lambda some: listed(self._snapshot(now), some, whole))

    def scan(self, cursor: int, most: int, now: int) -> "tuple[list[Entry], int]":
        self._check_open()
        snapshot = self._snapshot(now)

        def behind(place: int, asked: int) -> "list[tuple[int, bytes]]":
            with closing(self._rounds.in_order(place)) as placed:
                return list(islice(placed, asked))

        return scan(behind, lambda keys: listed(snapshot, keys), cursor, most)

    def written(self) -> "Iterable[bytes]":
        return (key for key, item, _ in self._changes if item is not None)

    def _keys(self) -> "Iterator[bytes]":
        for name in sorted(os.listdir(self._items)):
            key = self._key_in(name) if "~" in name else key_of(name, b"")
            if key is not None:
                yield key

    def _key_in(self, name: str) -> Optional[bytes]:
        """The key of a file whose name is only the beginning of it."""
        try:
            with open(self._items / name, "rb") as file:
                return key_of(name, file.readline())
        except FileNotFoundError:
            return None

    def _in_order(self) -> "list[tuple[int, bytes]]":
        items = ((self._read(key), key) for key in self._keys())
        return sorted((item.place, key) for item, key in items if item is not None)

    def perform(self, lists: Sequence[Steps], now: int) -> list[Results]:
        self._check_open()
        self._changes = []
        with self._changing:
            try:
                return self._attempt(lists, now)
            except StoreFull:
                return run_alone(lambda step: self._attempt([[step]], now)[0][0], lists)

    @property
    def due(self) -> bool:
        return self._interrupted or len(self._sieve.visits) >= MOST_VISITS

    @property
    def pending(self) -> bool:
        return self._rounds.busy or (self._overflows(self._state) and not self._in_vain)

    def _overflows(self, state: State) -> bool:
        """Whether there is more than is allowed, and not for being kept."""
        return self._evicts and state.stored > max(self._limit, state.kept)

    def maintain(self) -> None:
        if not self._interrupted:
            self._sieve.fold()
            return
        with self._changing:
            try:
                self._recover()
            except OSError as fault:
                raise StorageError(str(fault)) from fault

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("the store is closed")

    def _attempt(self, lists: Sequence[Steps], now: int) -> list[Results]:
        try:
            if self._interrupted:
                self._recover()
            answers = self._run(lists, now)
        except OSError as fault:
            self._interrupted = True
            if fault.errno in _NO_ROOM:
                raise StoreFull(str(fault)) from fault
            raise StorageError(str(fault)) from fault
        return answers

    def _run(self, lists: Sequence[Steps], now: int) -> list[Results]:
        state = self._state.copy()
        limit = None if self._evicts else self._limit
        sieve = self._sieve
        transaction = Transaction(
            self._read, sieve.stamp_of, sieve, state, now, limit, most_kept=self._limit
        )
        answers = run(transaction, lists)
        self._rounds.sweep(transaction)
        victims: list[Entry] = []
        if self._overflows(state):
            victims = evict(transaction, sieve, self._limit, self._rounds.in_order)
            self._in_vain = not victims and state.kept > 0
        self._commit(transaction)
        self._rounds.committed(state)
        changes = transaction.finish()
        self._changes += changes
        welcome(changes, sieve)
        self._tally.count_batch(answers, victims, now)
        if victims and self.evicted is not None:
            self.evicted(victims)
        return answers

    def _commit(self, transaction: Transaction) -> None:
        before = _encoded(self._state)
        now = max(self._state.now, transaction.now)
        moves: list[str] = []
        removals: list[str] = []
        for key, item, _ in transaction.finish():
            if item is not None:
                moves.append(name_of(key))
                self._write(self._incoming / moves[-1], encode_file(key, item))
            else:
                removals.append(name_of(key))
        if not moves and not removals and _encoded(transaction.state) == before:
            return
        transaction.state.now = now
        state = _encoded(transaction.state)
        if self._synced:
            self._folder.sync(self._incoming)
        body = json.dumps({"moves": moves, "removals": removals, "state": state.hex()}).encode()
        try:
            self._write(self._journal, _sealed(body))
            if self._synced:
                self._folder.sync()
        except OSError:
            # Whole or not, it must not be found: the answer will be that nothing has happened.
            self._journal.unlink(missing_ok=True)
            raise
        with self._lock:
            self._state = transaction.state
            try:
                self._finish(moves, removals, state)
            except OSError:
                # The batch has happened. What is missing of it is done before anything else.
                self._interrupted = True

    def _finish(self, moves: Sequence[str], removals: Sequence[str], state: bytes) -> None:
        for name in moves:
            try:
                os.replace(self._incoming / name, self._items / name)
            except FileNotFoundError:
                # Done before the crash that this recovers from.
                continue
        for name in removals:
            (self._items / name).unlink(missing_ok=True)
        # The state is small and replaced whole, so it needs no file of its own on the way.
        self._write(self._root / "state.new", _sealed(state.hex().encode()))
        os.replace(self._root / "state.new", self._root / "state")
        if self._synced:
            self._folder.sync(self._items)
            self._folder.sync()
        self._journal.unlink()

    def _recover(self) -> None:
        """Finish a batch whose journal is whole, drop one that is torn, and load the state."""
        batch = journal_in(self._root)
        if batch is not None:
            self._finish(*batch)
        self._journal.unlink(missing_ok=True)
        for entry in self._incoming.iterdir():
            entry.unlink()
        try:
            self._state = state_in(self._root)
        except DamagedRecord as fault:
            raise StorageError(str(fault)) from None
        self._interrupted = False

    # For the operator

    def resize(self, limit: int) -> bool:
        self._limit = limit
        return limit > 0

    def figures(self) -> "dict[str, Any]":
        state = self._state
        more = {
            "damaged_records": self.damaged,
            "last_clean_stop": self._folder.last_clean_stop,
        }
        return self._tally.figures(self.name, state, self._limit, state.stored, more)

    def _read(self, key: bytes) -> Optional[Item]:
        try:
            return decode_file(key, (self._items / name_of(key)).read_bytes())
        except FileNotFoundError:
            return None
        except DamagedRecord:
            self.damaged += 1
            return None

    def _write(self, path: Path, content: bytes) -> None:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            if self._synced:
                os.fsync(file.fileno())


def _sealed(body: bytes) -> bytes:
    return b"%08x %b" % (crc32(body), body)


def _unsealed(path: Path) -> Optional[bytes]:
    """What `_sealed` sealed in the file; None: it is not there, or not whole."""
    try:
        checksum, _, body = path.read_bytes().partition(b" ")
    except FileNotFoundError:
        return None
    return body if checksum == b"%08x" % crc32(body) else None


def _encoded(state: State) -> bytes:
    return state.encode() + state.prefixes.encode()


def _decoded(record: bytes) -> State:
    """Raises `DamagedRecord` where it is not what `_encoded` made."""
    size = State.size_in(record)
    state = State(record[:size])
    state.prefixes = Prefixes.decode(record[size:])
    return state
