"""simpledb's operations, on the memory backend; and what users' rights make of them."""

from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from mctwist import operations, simpledb_operations
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import NotPermitted, Rights, Step
from mctwist.item import BYTES, TYPED
from mctwist.operations import NOT_STORED, STORED
from mctwist.protocols.rights import within
from mctwist.simpledb_operations import TOO_LARGE, Data, Refusal
from mctwist.testing import NOW
from mctwist.testing.doubles import step

LATER = NOW + 60_000
LIMIT = 1000


class OperationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.backend = MemoryBackend()
        self.backend.open()
        self.addCleanup(self.backend.close)

    def do(self, operation: Any, key: bytes, *arguments: Any, now: int = NOW) -> Any:
        """What one step comes to, in a batch of its own."""
        (results,) = self.backend.perform([[step(operation, key, *arguments)]], now)
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]

    def held(self, key: bytes, now: int = NOW) -> "Optional[tuple[bytes, int, int, int]]":
        item = self.do(operations.fetch, key, now=now)
        return item and (item.value, item.kind, item.flags, item.expiry)

    def test_a_kind_is_stored_and_kept(self) -> None:
        status, item = self.do(simpledb_operations.store, b"k", b":1\r\n", 0, LATER, TYPED)
        self.assertEqual((status, item.kind), (STORED, TYPED))
        self.assertEqual(self.held(b"k"), (b":1\r\n", TYPED, 0, LATER))
        status, item = self.do(simpledb_operations.add, b"k", b"2", 0, 0, BYTES)
        self.assertEqual((status, item.value), (NOT_STORED, b":1\r\n"))
        self.assertIs(self.do(simpledb_operations.add, b"n", b":2\r\n", 0, 0, TYPED)[0], STORED)
        for touch in (operations.touch, operations.fetch_and_touch):
            self.do(touch, b"k", LATER + 1)
            self.assertEqual(self.held(b"k"), (b":1\r\n", TYPED, 0, LATER + 1))
        self.do(operations.store, b"k", b"plain", 3, 0)
        self.assertEqual(self.held(b"k"), (b"plain", BYTES, 3, 0))

    def test_swap_and_pop(self) -> None:
        self.assertIsNone(self.do(simpledb_operations.swap, b"k", b"1", BYTES))
        self.do(operations.touch, b"k", LATER)
        self.assertEqual(self.do(simpledb_operations.swap, b"k", b":2\r\n", TYPED).value, b"1")
        self.assertEqual(self.held(b"k"), (b":2\r\n", TYPED, 0, LATER))
        self.assertEqual(self.do(simpledb_operations.pop, b"k").value, b":2\r\n")
        self.assertIsNone(self.do(simpledb_operations.pop, b"k"))
        self.assertIsNone(self.held(b"k"))

    def test_update(self) -> None:
        def longer(data: Optional[Data]) -> Data:
            value, kind = data or (b"", TYPED)
            return value + b"+" * 400, kind

        self.do(operations.store, b"k", b"v", 7, LATER)
        item = self.do(simpledb_operations.update, b"k", longer, LIMIT)
        self.assertEqual(item.value, b"v" + b"+" * 400)
        self.assertEqual(self.held(b"k"), (b"v" + b"+" * 400, BYTES, 7, LATER))
        self.do(simpledb_operations.update, b"k", longer, LIMIT)
        self.assertIs(self.do(simpledb_operations.update, b"k", longer, LIMIT), TOO_LARGE)
        self.assertEqual(self.held(b"k"), (b"v" + b"+" * 800, BYTES, 7, LATER))
        self.do(simpledb_operations.update, b"new", longer, LIMIT)
        self.assertEqual(self.held(b"new"), (b"+" * 400, TYPED, 0, 0))
        refusal = Refusal("no")
        self.assertIs(self.do(simpledb_operations.update, b"k", lambda _: refusal, LIMIT), refusal)
        self.assertEqual(self.held(b"k"), (b"v" + b"+" * 800, BYTES, 7, LATER))

    def test_many(self) -> None:
        pairs = {b"a": (b"1", BYTES), b"b": (b":2\r\n", TYPED)}
        self.assertEqual(self.do(simpledb_operations.store_many, b"", pairs, LATER), 2)
        self.assertEqual(self.held(b"b"), (b":2\r\n", TYPED, 0, LATER))
        self.assertEqual(self.do(simpledb_operations.delete_many, b"", [b"a", b"x", b"a"]), 1)
        self.assertIsNone(self.held(b"a"))
        self.assertIsNone(self.held(b"b", LATER))

    def test_flush_tells_how_many_there_were(self) -> None:
        self.do(simpledb_operations.store_many, b"", {b"%d" % n: (b"", BYTES) for n in range(9)}, 0)
        self.assertEqual(self.do(simpledb_operations.flush, b""), 9)
        self.assertEqual(self.do(simpledb_operations.flush, b""), 0)
        self.do(operations.store, b"0", b"", 0, 0)
        self.assertEqual(self.do(simpledb_operations.flush, b""), 1)
        self.assertIsNone(self.held(b"0"))


class RightsTests(SynchronousTestCase):
    """No dialect with users has these today; one that had would not be a way around them."""

    def allowed(self, rights: Rights, tried: Step) -> bool:
        (after,) = within(rights, [tried])
        if after[0] is operations.forbid:
            self.assertIsInstance(operations.forbid(None, b""), NotPermitted)  # type: ignore[arg-type]
            return False
        self.assertEqual(after, tried)
        return True

    def test_of_many_keys_each_has_to_be_within(self) -> None:
        mine, others = Rights(prefix=b"p:"), Rights(read_only=True)
        for operation in (simpledb_operations.store_many, simpledb_operations.delete_many):
            for keys, may in (([b"p:1", b"p:2"], True), ([b"p:1", b"q"], False), ([], True)):
                tried = step(operation, b"", dict.fromkeys(keys, (b"", BYTES)), 0)
                self.assertEqual(self.allowed(mine, tried), may)
                self.assertFalse(self.allowed(others, tried))

    def test_those_of_a_key(self) -> None:
        for operation in (
            *(simpledb_operations.store, simpledb_operations.add, simpledb_operations.swap),
            *(simpledb_operations.pop, simpledb_operations.update),
        ):
            self.assertTrue(self.allowed(Rights(prefix=b"p:"), step(operation, b"p:1")))
            self.assertFalse(self.allowed(Rights(prefix=b"p:"), step(operation, b"q")))
            self.assertFalse(self.allowed(Rights(read_only=True), step(operation, b"p:1")))

    def test_what_is_about_all_is_for_nobody_who_has_less(self) -> None:
        for rights in (Rights(prefix=b"p:"), Rights(read_only=True), Rights(True, b"p:")):
            self.assertFalse(self.allowed(rights, step(simpledb_operations.flush, b"")))
