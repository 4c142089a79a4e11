"""A damaged store is made whole, of all that verifies."""

import json
import os
import random
import resource
import shutil
import signal
from base64 import b64decode
from functools import partial
from typing import Any

from mctwist import operations
from mctwist.backends.directory import encode_file, name_of
from mctwist.backends.journal import journals
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.state import Prefixes
from mctwist.backends.tables import BLOCK, EXPIRY, FLUSHED, PLACE, STATE
from mctwist.item import Item, decode, encode
from mctwist.offline.check import check
from mctwist.offline.repair import PREFIXES_LOST, STATE_LOST, WORKSHOP, Repaired, repair
from mctwist.offline.replace import replace_tables
from mctwist.offline.stores import DIRECTORY, LMDB, OfflineError, Store, held
from mctwist.testing import NOW, delete, flush, put, step
from tests.processes import eventually
from tests.stores import (
    NEVER,
    StoreCase,
    command,
    edited,
    fill,
    flipped,
    items_in,
    kill_when,
    killed_at,
    started,
    stop,
    tree_of,
    various,
)


def without_numbers(items: "dict[bytes, Item]") -> "dict[bytes, Item]":
    """Items, but for what no client sees."""
    return {key: item._replace(place=0) for key, item in items.items()}


class RepairCase(StoreCase):
    """What a repair makes of a store."""

    def repaired(self) -> Repaired:
        """What becomes of it; it is whole then."""
        with held(self.store):
            self.assertFalse(check(self.store).whole)
            repaired = repair(self.store)
        self.assertEqual(repaired.report.damage, {})
        self.assertFalse((self.path / WORKSHOP).exists())
        return repaired

    def moved(self, repaired: Repaired) -> "dict[bytes, bytes]":
        """What has been put aside, by its key."""
        (path,) = repaired.aside.glob("damaged-*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(repaired.removed, len(lines))
        return {b64decode(line["key64"]): b64decode(line["record64"]) for line in lines}


class LMDBTests(RepairCase):
    """Damage of every kind, and what is left."""

    def test_all_that_verifies_is_as_it_was(self) -> None:
        fill(self.store, [*various(20), flush(0), *various(20)])
        before = items_in(self.store)
        with edited(self.path) as tables:
            records, order = tables[b"items"], tables[b"order"]
            records.flip(b"plain:0007")
            damaged = records[b"plain:0007"]
            expires = decode(b"expires:0004", records[b"expires:0004"])
            del tables[b"expiring"][EXPIRY.pack(expires.expiry, expires.place)]
            tables[b"expiring"][EXPIRY.pack(NEVER, 3)] = b"gone"
            order[BLOCK.pack(900)] = PLACE.pack(1, 4, 0) + b"gone"
            order[BLOCK.pack(901)] = b"what"
            del order[BLOCK.pack(decode(b"plain:0002", records[b"plain:0002"]).place // 64)]
            twin = decode(b"plain:0009", records[b"plain:0009"])._replace(place=expires.place)
            records[b"plain:0009"] = encode(b"plain:0009", twin)
        fill(self.store, [delete(b"long:0001"), put(b"plain:0003", b"new")], closes=False)
        repaired = self.repaired()
        self.assertEqual(self.moved(repaired), {b"plain:0007": damaged})
        self.assertEqual(repaired.lost, [])
        after = items_in(self.store)
        self.assertEqual(after.pop(b"plain:0003").value, b"new")
        for key in (b"plain:0003", b"plain:0007", b"long:0001"):
            del before[key]
        self.assertEqual(without_numbers(after), without_numbers(before))
        places = [item.place for item in after.values()]
        self.assertEqual(len(places), len(set(places)))
        kept_aside = {path.name for path in repaired.aside.iterdir()}
        self.assertLessEqual({"data.mdb", "mctwist", "journal-0000000001"}, kept_aside)

    def test_when_each_was_last_accessed_is_kept(self) -> None:
        fill(self.store, [put(b"a", b"1"), put(b"b", b"2")])
        backend = LMDBBackend(str(self.path), "never")
        backend.open()
        backend.read([step(operations.fetch, b"a")], NOW + 500_000)
        backend.close()
        with edited(self.path) as tables:
            tables[b"items"].flip(b"b")
        self.repaired()
        backend.open()
        ((entry,),) = backend.walk(b"", NOW)
        backend.close()
        self.assertEqual((entry.accessed, entry.fetched), (NOW // 1000 + 500, True))

    def test_without_the_state_that_is_said_and_numbers_go_on_above_all(self) -> None:
        fill(self.store, [*various(20), flush(0), put(b"last", b"l")])
        with edited(self.path) as tables:
            tables[b"about"].flip(STATE)
            tables[b"about"][FLUSHED] = flipped(Prefixes({b"a": 1}).encode(), 0)
        repaired = self.repaired()
        self.assertEqual(repaired.lost, [STATE_LOST, PREFIXES_LOST])
        self.assertEqual(len(items_in(self.store)), 101)
        fill(self.store, [put(b"next", b"n")])
        items = items_in(self.store)
        self.assertGreater(items[b"next"].sequence, 1000)
        self.assertEqual(max(items.values(), key=lambda item: item.place), items[b"next"])

    def test_what_is_behind_a_break_in_a_journal_is_found(self) -> None:
        steps = [put(b"%03d" % number, b"%d" % number) for number in range(300)]
        fill(self.store, steps, closes=False)
        (journal,) = journals(self.path)
        journal.write_bytes(flipped(journal.read_bytes(), 20))
        self.assertEqual(len(items_in(Store(LMDB, shutil.copytree(self.path, self.path / "c")))), 0)
        shutil.rmtree(self.path / "c")
        self.repaired()
        values = {key: item.value for key, item in items_in(self.store).items()}
        expected = {b"%03d" % number: b"%d" % number for number in range(100, 300)}
        self.assertEqual(values, expected)

    def test_a_file_of_which_nothing_can_be_read_is_left_alone(self) -> None:
        fill(self.store, various(5))
        (self.path / "data.mdb").write_bytes(b"something else" * 1000)
        before = tree_of(self.path)
        result = command("check", str(self.path), "--repair")
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1))
        self.assertIn("nothing can be read of", result.stderr)
        self.assertEqual(tree_of(self.path), before)

    def test_a_first_page_that_is_damaged_is_made_from_the_other(self) -> None:
        fill(self.store, various(20))
        before = items_in(self.store)
        data = self.path / "data.mdb"
        content = data.read_bytes()
        for place in (10, 4096 + 17):
            data.write_bytes(flipped(content, place))
            if not check(self.store).whole:
                self.repaired()
            self.assertEqual(without_numbers(items_in(self.store)), without_numbers(before), place)

    def test_a_store_that_went_down_is_trusted_after_a_repair(self) -> None:
        fill(self.store, various(5))
        (self.path / "unsynced").write_text("another boot\n")
        self.repaired()
        self.assertEqual(len(items_in(self.store)), 25)
        self.assertEqual(list(self.directory.iterdir()), [self.path])

    def test_bits_that_are_flipped_anywhere_cost_a_page_at_the_most(self) -> None:
        fill(self.store, various(200))
        before = without_numbers(items_in(self.store))
        whole = self.directory / "whole"
        self.path.rename(whole)
        content = (whole / "data.mdb").read_bytes()
        dice = random.Random(3)
        for _ in range(int(os.environ.get("FLIPS", "8"))):
            place = dice.randrange(2, len(content) // 4096) * 4096
            place += dice.randrange(dice.choice((64, 4096)))
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.copytree(whole, self.path)
            (self.path / "data.mdb").write_bytes(flipped(content, place))
            if not check(self.store).whole:
                self.repaired()
            after = without_numbers(items_in(self.store))
            self.assertLessEqual(after.items(), before.items(), place)
            self.assertGreater(len(after), len(before) - 80, place)


class KillTests(RepairCase):
    """A repair that is killed."""

    def setUp(self) -> None:
        super().setUp()
        fill(self.store, various(300))
        fill(self.store, [put(b"plain:0001", b"late")], closes=False)
        with edited(self.path) as tables:
            tables[b"items"].flip(b"plain:0007")

    def verify(self) -> None:
        """The store is the old one, or whole; and a repair makes it that."""
        items = items_in(Store(LMDB, shutil.copytree(self.path, self.directory / "copy")))
        shutil.rmtree(self.directory / "copy")
        self.assertEqual((len(items), items[b"plain:0001"].value), (1499, b"late"))

    def test_stopped_it_leaves_all_as_it_was(self) -> None:
        before = tree_of(self.path)
        process = started("check", "--repair", str(self.path))
        eventually(lambda: any(self.path.glob(f"{WORKSHOP}/new")), "it has begun")
        stop(process, signal.SIGINT)
        self.assertEqual(tree_of(self.path), before)

    def test_while_the_new_store_is_made(self) -> None:
        before = tree_of(self.path)
        for seen in (f"{WORKSHOP}/new", f"{WORKSHOP}/new/data.mdb"):
            kill_when(started("check", "--repair", str(self.path)), self.path, seen)
            shutil.rmtree(self.path / WORKSHOP, ignore_errors=True)
            self.assertEqual(tree_of(self.path), before)
        self.repaired()
        self.verify()

    def test_at_every_moment_while_it_takes_its_place(self) -> None:
        whole = Store(LMDB, self.directory / "whole")
        shutil.copytree(self.path, whole.path)
        with held(whole):
            repair(whole)
        old = self.directory / "old"
        self.path.rename(old)
        for moment in range(1, 20):
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.copytree(old, self.path)
            workshop, kept = self.path / WORKSHOP, self.path / "damaged-now"
            new, aside = workshop / "new", workshop / "aside"
            new.mkdir(parents=True)
            aside.mkdir()
            shutil.copy(whole.path / "data.mdb", new / "data.mdb")
            killed = killed_at(moment, partial(replace_tables, self.path, new, aside, kept))
            self.verify()
            if not killed:
                break
        self.assertGreater(moment, 7)


class DirectoryTests(RepairCase):
    """A file a key."""

    kind = DIRECTORY

    def test_files_that_do_not_verify_are_moved_aside(self) -> None:
        fill(self.store, various(4))
        before = items_in(self.store)
        items = self.path / "items"
        path = items / name_of(b"plain:0001")
        damaged = flipped(path.read_bytes(), -1)
        path.write_bytes(damaged)
        (items / name_of(b"flags:0001")).rename(items / "other")
        (self.path / "state").write_bytes(b"nothing")
        repaired = self.repaired()
        names = {item.name for item in repaired.aside.iterdir()}
        self.assertLessEqual({path.name, "other"}, names)
        self.assertEqual(self.moved(repaired)[path.name.encode()], damaged)
        for key in (b"plain:0001", b"flags:0001"):
            del before[key]
        self.assertEqual(items_in(self.store), before)

    def test_the_name_of_a_file_cannot_steer_the_terminal(self) -> None:
        fill(self.store, various(1))
        (self.path / "items" / os.fsdecode(b"\xff\x1b[31mred")).write_bytes(b"what")
        for arguments in ((), ("--json",)):
            result = command("check", str(self.path), *arguments)
            self.assertIn("%FF%1B[31mred", result.stdout)
            self.assertNotIn(b"\x1b", result.stdout_bytes)

    def test_two_files_at_one_place_get_one_each(self) -> None:
        fill(self.store, various(4))
        before = items_in(self.store)
        twin = before[b"plain:0002"]._replace(place=before[b"plain:0003"].place)
        file = self.path / "items" / name_of(b"plain:0002")
        file.write_bytes(encode_file(b"plain:0002", twin))
        self.repaired()
        after = items_in(self.store)
        self.assertEqual(without_numbers(after), without_numbers(before))
        self.assertEqual(len({item.place for item in after.values()}), 20)


class CommandTests(RepairCase):
    """What people see of it."""

    def test_damage_is_told_and_repaired(self) -> None:
        fill(self.store, various(20))
        with edited(self.path) as tables:
            for number in range(7):
                tables[b"items"].flip(b"kept \xff%04d" % number)
        result = command("check", str(self.path))
        self.assertEqual(result.exit_code, 1)
        lines = result.stdout.splitlines()
        keys = ", ".join(f"kept%20%FF{number:04d}" for number in range(5))
        self.assertEqual(lines[1], f"records do not verify\t7\t{keys}, …")
        self.assertEqual(lines[-1], "damaged")
        result = command("check", str(self.path), "--repair")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        (aside,) = self.path.glob("damaged-*")
        self.assertEqual(
            result.stdout.splitlines()[-2:],
            [
                "repaired: lmdb store, 93 items of 52.8 KB",
                f"7 damaged records and the old files: {aside}",
            ],
        )
        result = command("check", str(self.path), "--json")
        said: dict[str, Any] = json.loads(result.stdout)
        self.assertEqual((result.exit_code, said["whole"], said["items"]), (0, True, 93))

    def test_without_room_for_a_second_store_it_ends_in_one_line(self) -> None:
        fill(self.store, various(20))
        with edited(self.path) as tables:
            tables[b"items"].flip(b"plain:0007")
        before = tree_of(self.path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
        try:
            result = command("check", str(self.path), "--repair")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual((result.exit_code, result.stderr.count("\n")), (1, 1), result.output)
        self.assertIn("mdb_txn_commit", result.stderr)
        self.assertEqual(tree_of(self.path), before)

    def test_a_whole_store_is_left_alone(self) -> None:
        fill(self.store, various(20))
        before = tree_of(self.path)
        result = command("check", str(self.path), "--repair")
        self.assertEqual((result.exit_code, result.stdout.splitlines()[-1]), (0, "whole"))
        self.assertEqual(tree_of(self.path), before)

    def test_what_cannot_be_repaired_raises(self) -> None:
        fill(self.store, various(1))
        (self.path / "data.mdb").unlink()
        with held(self.store), self.assertRaises(OfflineError):
            repair(self.store)
