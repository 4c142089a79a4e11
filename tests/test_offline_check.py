"""What a check finds, and that it finds nothing where nothing is wrong."""

import random
import shutil
from typing import Callable
from zlib import crc32

from mctwist.backends.directory import name_of
from mctwist.backends.folder import Folder
from mctwist.backends.journal import journals
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.state import Prefixes, State
from mctwist.backends.tables import BLOCK, EXPIRY, FLUSHED, PLACE, STATE
from mctwist.item import decode, encode
from mctwist.offline.check import check, look_through
from mctwist.offline.report import TOLD, Report
from mctwist.offline.stores import DIRECTORY, LMDB, Store
from mctwist.testing import NOW, SECOND, delete, get, put
from tests import test_tables
from tests.stores import NEVER, StoreCase, Table, command, edited, fill, flipped, tree_of, various


class CheckCase(StoreCase):
    """What a check finds in a store."""

    def look(self) -> Report:
        """What is found, without another process."""
        *_, (_, _, report) = look_through(str(self.path))
        return report

    def damage(self) -> "dict[str, tuple[int, list[str]]]":
        return self.look().damage


class WholeTests(CheckCase):
    """Nothing is wrong with what a server leaves, however it ends."""

    def test_whatever_a_kill_leaves_is_whole(self) -> None:
        dice = random.Random(7)
        any_step = test_tables.AgreementTests().any_step
        backend = LMDBBackend(str(self.path), "never", limit=1 << 20, checkpoint=10_000)
        backend.open()
        now = NOW
        for turn in range(150):
            now += dice.choice((1, 50, SECOND, 20 * SECOND))
            backend.perform([[any_step(dice, now) for _ in range(dice.randrange(60))]], now)
            backend.read([get(b"%d" % dice.randrange(400)) for _ in range(20)], now)
            while backend.due and dice.random() < 0.7:
                backend.maintain()
            if turn % 15 == 14:
                copy = self.directory / f"killed-{turn}"
                shutil.copytree(self.path, copy)
                *_, (_, _, report) = look_through(str(copy))
                self.assertEqual(report.damage, {}, turn)
                self.assertEqual((report.items, report.size), backend.live())
        backend.close()
        self.assertEqual(self.damage(), {})

    def test_journals_count_before_the_tables(self) -> None:
        fill(self.store, various(20))
        fill(self.store, [delete(b"plain:0003"), put(b"new", b"n" * 9)], closes=False)
        report = self.look()
        self.assertEqual((report.damage, report.items, report.batches), ({}, 100, 1))
        self.assertEqual((report.records, report.torn), (100, False))

    def test_a_batch_that_a_crash_has_cut_short_is_no_damage(self) -> None:
        fill(self.store, various(20), closes=False)
        (journal,) = journals(self.path)
        content = journal.read_bytes().rstrip(b"\0")
        journal.write_bytes(content + content[:-5])
        report = self.look()
        self.assertEqual((report.damage, report.torn, report.items), ({}, True, 100))

    def test_nothing_is_changed(self) -> None:
        fill(self.store, various(20), closes=False)
        before = tree_of(self.path)
        self.assertEqual(check(self.store).damage, {})
        self.assertEqual(tree_of(self.path), before)


class DamageTests(CheckCase):
    """One thing that is wrong, and its name."""

    def setUp(self) -> None:
        super().setUp()
        fill(self.store, various(20))

    def expect(
        self, wrong: "Callable[[dict[bytes, Table]], None]", **expected: "list[str]"
    ) -> None:
        """`wrong` is done to the tables, and that is found, and nothing else."""
        self.assertEqual(self.damage(), {})
        with edited(self.path) as tables:
            wrong(tables)
        self.assertEqual({kind: first for kind, (_, first) in self.damage().items()}, expected)

    @staticmethod
    def item(tables: "dict[bytes, Table]", key: bytes) -> "tuple[int, int, bytes]":
        """Its place, its expiry, and the key of the block of its place."""
        item = decode(key, tables[b"items"][key])
        return item.place, item.expiry, BLOCK.pack(item.place // 64)

    def test_a_record_that_does_not_verify(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"items"].flip(b"plain:0007")

        self.expect(wrong, record=["plain:0007"], count=self.one_less(b"plain:0007", 7))

    @staticmethod
    def one_less(key: bytes, length: int) -> "list[str]":
        """What is said of the counts when an item is not there."""
        total = sum(
            59 + len(key) + length + 4 * flagged
            for key, length, flagged in (
                (made[1], len(made[2][0]), made[2][1] != 0) for made in various(20)
            )
        )
        less = total - 59 - len(key) - length
        return ["items: 100 instead of 99", f"size: {total} instead of {less}"]

    def test_a_record_under_another_key(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"items"][b"plain:0007"] = tables[b"items"][b"plain:0008"]

        self.expect(wrong, record=["plain:0007"], count=self.one_less(b"plain:0007", 7))

    def test_an_item_without_its_place_and_its_expiry(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            place, expiry, block = self.item(tables, b"expires:0004")
            content = tables[b"order"][block]
            at = content.index(b"expires:0004") - PLACE.size
            tables[b"order"][block] = content[:at] + content[at + PLACE.size + 12 :]
            del tables[b"expiring"][EXPIRY.pack(expiry, place)]

        self.expect(wrong, unplaced=["expires:0004"], untimed=["expires:0004"])

    def test_a_place_and_an_expiry_without_their_item(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"order"][BLOCK.pack(900)] = PLACE.pack(1, 4, 0) + b"gone"
            tables[b"expiring"][EXPIRY.pack(NEVER, 900 * 64 + 1)] = b"gone%"

        self.expect(wrong, place=["gone"], expiry=["gone%25"])

    def test_a_place_and_an_expiry_that_are_others(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            place, expiry, block = self.item(tables, b"expires:0004")
            content = tables[b"order"][block]
            at = content.index(b"expires:0004") - PLACE.size
            rest = content[:at] + content[at + PLACE.size + 12 :]
            tables[b"order"][block] = rest
            tables[b"order"][BLOCK.pack(77)] = content[at : at + PLACE.size + 12]
            del tables[b"expiring"][EXPIRY.pack(expiry, place)]
            tables[b"expiring"][EXPIRY.pack(expiry + 1, place)] = b"expires:0004"

        key = ["expires:0004"]
        self.expect(wrong, unplaced=key, place=key, untimed=key, expiry=key)

    def test_two_items_at_one_place(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            place, _, _ = self.item(tables, b"plain:0001")
            record = tables[b"items"][b"plain:0002"]
            item = decode(b"plain:0002", record)._replace(place=place)
            tables[b"items"][b"plain:0002"] = encode(b"plain:0002", item)

        self.expect(wrong, unplaced=["plain:0002"], place=["plain:0002"])

    def test_a_block_of_places_that_is_none(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"order"][BLOCK.pack(900)] = PLACE.pack(64, 1, 0) + b"k"
            tables[b"order"][BLOCK.pack(901)] = PLACE.pack(0, 9, 0) + b"k"
            tables[b"order"][BLOCK.pack(902)] = b"abc"

        blocks = [f"block {BLOCK.pack(number).hex()}" for number in (900, 901, 902)]
        self.expect(wrong, place=blocks)

    def test_a_state_that_does_not_verify(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"about"].flip(STATE)

        self.expect(wrong, state=["the state of the store does not verify"],
                    number=self.first_keys())  # fmt: skip

    @staticmethod
    def first_keys() -> "list[str]":
        return [f"expires:{number:04d}" for number in range(TOLD)]

    def test_counts_that_are_others(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            state = State(tables[b"about"][STATE])
            state.dead, state.kept = 3, state.kept + 1
            tables[b"about"][STATE] = state.encode()

        with edited(self.path) as tables:
            kept = State(tables[b"about"][STATE]).kept
        expected = ["dead: 3 instead of 0", f"kept: {kept + 1} instead of {kept}"]
        self.expect(wrong, count=expected)

    def test_a_number_that_was_not_given_out(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            state = State(tables[b"about"][STATE])
            state.sequence -= 1
            tables[b"about"][STATE] = state.encode()

        self.expect(wrong, number=["long:0019"])

    def test_flushed_prefixes_that_do_not_verify(self) -> None:
        def wrong(tables: "dict[bytes, Table]") -> None:
            tables[b"about"][FLUSHED] = flipped(Prefixes({b"a": 1}).encode(), 0)

        self.expect(wrong, prefixes=["the state of the store does not verify"])

    def test_a_key_that_no_item_has(self) -> None:
        key = b"k" * 251

        def wrong(tables: "dict[bytes, Table]") -> None:
            item = decode(b"plain:0001", tables[b"items"][b"plain:0001"])
            tables[b"items"][key] = encode(key, item)

        damage = ["items: 100 instead of 101"]
        self.assertEqual(self.damage(), {})
        with edited(self.path) as tables:
            wrong(tables)
        found = self.damage()
        self.assertEqual(found["key"], (1, [key.decode()]))
        self.assertEqual(found["count"][1][:1], damage)

    def test_of_much_damage_the_first_is_told(self) -> None:
        with edited(self.path) as tables:
            for number in range(20):
                tables[b"items"].flip(b"plain:%04d" % number)
        expected = (20, [f"plain:{number:04d}" for number in range(TOLD)])
        self.assertEqual(self.damage()["record"], expected)

    def test_a_journal_that_is_broken_before_its_end(self) -> None:
        fill(self.store, [put(b"%d" % number, b"v") for number in range(300)], closes=False)
        (journal,) = journals(self.path)
        content = journal.read_bytes()
        for place in (0, 4, 8, 3000):
            journal.write_bytes(flipped(content, place))
            report = self.look()
            self.assertEqual(report.damage["journal"][0], 1, place)
            self.assertTrue(report.damage["journal"][1][0].startswith(f"{journal.name}, byte "))

    def test_a_file_that_is_cut_off(self) -> None:
        data = self.path / "data.mdb"
        data.write_bytes(data.read_bytes()[: 12 * 4096])
        report = check(self.store)
        self.assertEqual(set(report.damage) & {"structure"}, {"structure"})

    def test_a_file_that_is_none_of_lmdb(self) -> None:
        for content in (b"", b"something else" * 1000, bytes(1 << 16)):
            (self.path / "data.mdb").write_bytes(content)
            self.assertEqual(set(check(self.store).damage), {"structure"})

    def test_a_machine_that_went_down_while_nothing_was_synced(self) -> None:
        (self.path / "unsynced").write_text("another boot\n")
        self.assertEqual(set(check(self.store).damage), {"untrusted"})


class DirectoryTests(CheckCase):
    """The same of a file a key."""

    kind = DIRECTORY

    def setUp(self) -> None:
        super().setUp()
        fill(self.store, [*various(4), put(b"k" * 250, b"v")])
        self.assertEqual(self.found(), {})

    def found(self) -> "dict[str, list[str]]":
        before = tree_of(self.path)
        report = check(self.store)
        self.assertEqual(tree_of(self.path), before)
        self.items = report.items
        return {kind: first for kind, (_, first) in report.damage.items()}

    def test_a_file_that_does_not_verify(self) -> None:
        for key in (b"plain:0001", b"k" * 250):
            path = self.path / "items" / name_of(key)
            content = path.read_bytes()
            for wrong in (flipped(content, -1), content[:-1], b"", flipped(content, 12)):
                path.write_bytes(wrong)
                found = self.found()
                self.assertEqual(found["record"], [path.name])
                self.assertEqual(found["count"][0], "items: 21 instead of 20")
            path.write_bytes(content)

    def test_a_file_under_another_name(self) -> None:
        items = self.path / "items"
        (items / name_of(b"plain:0001")).rename(items / "other")
        (items / "folder").mkdir()
        found = self.found()
        self.assertEqual((found["record"], found["file"]), (["other"], ["folder"]))

    def test_a_state_that_does_not_verify(self) -> None:
        state = self.path / "state"
        state.write_bytes(flipped(state.read_bytes(), 20))
        self.assertEqual(set(self.found()), {"state", "number"})

    def test_a_batch_that_has_happened_and_is_not_finished(self) -> None:
        batch = (self.path / "incoming", self.path / "journal")
        other = Store(DIRECTORY, self.directory / "other")
        fill(other, [*various(4), put(b"k" * 250, b"v"), put(b"late", b"l")])
        late = other.path / "items" / "late"
        (batch[0] / "late").write_bytes(late.read_bytes())
        state = (other.path / "state").read_bytes().partition(b" ")[2].decode()
        body = f'{{"moves": ["late"], "removals": [], "state": "{state}"}}'.encode()
        batch[1].write_bytes(b"%08x %b" % (crc32(body), body))
        self.assertEqual((self.found(), self.items), ({}, 22))
        (batch[0] / "late").unlink()
        self.assertEqual(self.found()["journal"], ["late"])
        batch[1].write_bytes(b"torn")
        self.assertEqual((self.found(), self.items), ({}, 21))


class CommandTests(CheckCase):
    """What people see of it."""

    def test_a_whole_store(self) -> None:
        fill(self.store, various(20))
        result = command("check", str(self.path))
        self.assertEqual(result.exit_code, 0)
        self.assertEqual(result.stdout, f"{self.path}: lmdb store, 100 items of 53.3 KB\nwhole\n")

    def test_one_that_somebody_has_open(self) -> None:
        fill(self.store, various(1))
        folder = Folder(str(self.path), LMDB, 2)
        folder.hold()
        self.addCleanup(folder.release)
        result = command("check", str(self.path), "--repair")
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))
        self.assertIn("is in use by process", result.stderr)

    def test_what_is_no_store(self) -> None:
        (self.path / "sub").mkdir(parents=True)
        (self.path / "mctwist").write_text("lmdb 99\n")
        for path in (self.path, self.path / "sub", self.path / "none", self.path / "mctwist"):
            result = command("check", str(path))
            self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1), path)
        self.assertEqual(tree_of(self.path), {"mctwist": b"lmdb 99\n"})
