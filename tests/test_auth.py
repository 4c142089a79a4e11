"""The users: who is let in, how long whoever guesses waits, and what is told of it."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mctwist import failures, passwords
from mctwist.auth import LONGEST_WAIT, MOST_OF_ADDRESS, MOST_WAITING, Users
from mctwist.failures import FORGOTTEN, FREE, LAST_DELAY, Failures
from mctwist.interfaces import IUsers, Rights, StartError
from mctwist.passwords import User, hash_password, spell
from mctwist.testing import ManualReactor

#: What has not been answered.
WAITS = object()


def line(name: bytes, password: bytes, *rights: Any) -> bytes:
    """A line with a hash that costs nothing."""
    return spell(User(name, hash_password(password, ln=1), *rights)) + b"\n"


class Thread:
    """
    Where passwords are checked, when the test says so.

    :ivar asked: what is to be done there, oldest first.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def defer(self, function: Callable[..., Any], *arguments: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.asked.append((done, function, arguments))
        return done

    def run(self) -> None:
        """Do what was asked first."""
        done, function, arguments = self.asked.pop(0)
        done.callback(function(*arguments))

    def run_all(self) -> int:
        """Do what is asked, until nothing is; return how much that was."""
        count = 0
        while self.asked:
            self.run()
            count += 1
        return count


class Case(SynchronousTestCase):
    """Users of a file."""

    FILE = line(b"alice", b"a") + line(b"bob", b"b", True, b"b:") + line(b"carol", b"c")

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="mctwist-"))
        self.addCleanup(shutil.rmtree, directory)
        self.path = directory / "users"
        self.write(self.FILE)
        self.reactor = ManualReactor()
        self.thread = Thread()
        self.users = Users(str(self.path), self.reactor, self.thread.defer)
        self.users.load()

    def write(self, text: bytes, mode: int = 0o600) -> None:
        self.path.write_bytes(text)
        self.path.chmod(mode)

    def ask(
        self,
        name: bytes = b"alice",
        password: bytes = b"a",
        peer: Optional[str] = "192.0.2.1",
        failures: int = 0,
    ) -> "list[Any]":
        """Have it checked; the list is what it comes to, and `WAITS` until then."""
        answer: list[Any] = [WAITS]
        done = self.users.check(name, password, peer, failures)
        done.addBoth(lambda outcome: answer.__setitem__(slice(None), [outcome]))
        return answer

    def settle(self, name: bytes = b"alice", password: bytes = b"a", **more: Any) -> Any:
        """What it comes to, however long that takes."""
        answer = self.ask(name, password, **more)
        self.reactor.advance(LAST_DELAY)
        self.thread.run_all()
        (outcome,) = answer
        return outcome

    def try_now(self) -> bool:
        """Let what need not wait be checked; whether there was something."""
        self.reactor.advance(0)
        return self.thread.run_all() > 0

    def delay_of(self, *arguments: Any, **more: Any) -> float:
        """How many seconds pass before it is checked."""
        self.ask(*arguments, **more)
        start = self.reactor.seconds()
        self.reactor.advance(0)
        while not self.thread.asked:
            self.reactor.advance(0.125)
        self.thread.run_all()
        return self.reactor.seconds() - start


class CheckTests(Case):
    """A name and a password."""

    def test_it_is_what_dialects_ask(self) -> None:
        verifyObject(IUsers, self.users)

    def test_who_is_right_has_the_rights_of_the_line(self) -> None:
        self.write(self.FILE + b"dave:in clear\n")
        self.users.load()
        for name, password, rights in [
            (b"alice", b"a", Rights()),
            (b"bob", b"b", Rights(True, b"b:")),
            (b"dave", b"in clear", Rights()),
        ]:
            for _ in range(2):
                self.assertEqual(self.settle(name, password, peer=None), rights)

    def test_who_is_not_is_refused(self) -> None:
        for number, (name, password) in enumerate(
            [
                *((b"alice", b"b"), (b"alice", b""), (b"alice", b"A"), (b"alice", b"a\0")),
                *((b"", b""), (b"", b"a"), (b"Alice", b"a"), (b"alic", b"ea"), (b"\xff\0", b"a")),
                *((b"alice" * 100_000, b"a"), (b"alice", b"a" * 1_000_000)),
            ]
        ):
            peer = f"192.0.2.{number}"
            self.assertIsNone(self.settle(name, password, peer=peer), name[:9])

    def test_who_is_refused_was_checked_like_anybody(self) -> None:
        costs = set()
        for number, name in enumerate([b"alice", b"nobody", b"", b"x" * 5000]):
            self.ask(name, b"wrong", peer=f"192.0.2.{number}")
            self.reactor.advance(0)
            ((_, function, (user, password)),) = self.thread.asked
            self.assertIs(function, passwords.verify)
            self.assertEqual(password, b"wrong")
            costs.add((user.secret.ln, user.secret.r, user.secret.p))
            self.thread.run()
        self.assertEqual(costs, {(1, 8, 1)})

    def test_a_name_that_there_is_not_always_takes_as_long_as_the_same_other(self) -> None:
        stood_in: dict[bytes, set[bytes]] = {}
        for number in range(60):
            name = b"nobody%d" % (number % 20)
            self.ask(name, b"%d" % number, peer=f"192.0.2.{number}")
            self.reactor.advance(0)
            stood_in.setdefault(name, set()).add(self.thread.asked[0][2][0].name)
            self.thread.run()
        self.assertEqual({len(names) for names in stood_in.values()}, {1})
        # One of three for each of twenty: that all are the same has a chance of 1 in 10 ** 9.
        self.assertGreater(len(set.union(*stood_in.values())), 1)

    def test_the_password_of_the_one_that_stands_in_lets_nobody_in(self) -> None:
        self.write(line(b"alice", b"a"))
        self.users.load()
        self.assertIsNone(self.settle(b"nobody", b"a"))

    def test_what_is_kept_of_a_guess_is_short(self) -> None:
        self.ask(b"x" * 1_000_000, b"y" * 1_000_000)
        self.reactor.advance(0)
        _, _, (_, password) = self.thread.asked[0]
        self.assertLess(len(password), 2000)
        self.thread.run()

    def test_a_check_that_fails_is_a_refusal_and_logged(self) -> None:
        answer, after = self.ask(), self.ask(b"bob", b"b")
        self.reactor.advance(0)
        self.thread.asked.pop(0)[0].errback(Failure(MemoryError("of all things")))
        self.assertEqual(answer, [None])
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.thread.run_all()
        self.assertEqual(after, [Rights(True, b"b:")])


class ProvenTests(Case):
    """Those who were right before, or ask for the same."""

    def test_who_was_right_is_known_again_at_once(self) -> None:
        self.settle()
        for peer in ("192.0.2.1", "198.51.100.7", None):
            self.assertEqual(self.ask(peer=peer, failures=100), [Rights()])
        self.assertEqual((self.thread.asked, self.reactor.getDelayedCalls()), ([], []))

    def test_only_the_same_is_known_again(self) -> None:
        self.settle()
        for name, password in [(b"alice", b"aa"), (b"bob", b"a"), (b"alicea", b""), (b"", b"a")]:
            self.assertEqual(self.ask(name, password, peer=repr(name)), [WAITS])
        self.assertEqual(self.ask(b"bob", b"b"), [WAITS])

    def test_one_who_was_wrong_is_not_known(self) -> None:
        self.settle(password=b"wrong")
        self.assertEqual(self.ask(password=b"wrong"), [WAITS])

    def test_another_users_proof_takes_none_away(self) -> None:
        self.settle()
        self.settle(b"bob", b"b")
        self.settle(b"alice", b"wrong")
        self.assertEqual(self.ask(), [Rights()])

    def test_many_who_ask_for_the_same_share_one_check(self) -> None:
        answers = [self.ask(peer=f"192.0.2.{number % 7}") for number in range(100)]
        self.reactor.advance(0)
        answers += [self.ask(peer="198.51.100.1") for _ in range(100)]
        self.assertEqual(self.thread.run_all(), 1)
        self.assertEqual(answers, [[Rights()]] * 200)
        self.assertEqual(self.delay_of(b"bob", b"b", peer="198.51.100.1"), 0)

    def test_many_who_are_wrong_in_the_same_way_share_one_check_and_each_has_failed(self) -> None:
        answers = [self.ask(password=b"wrong") for _ in range(10)]
        self.reactor.advance(0)
        self.assertEqual(self.thread.run_all(), 1)
        self.assertEqual(answers, [[None]] * 10)
        self.assertEqual(self.delay_of(password=b"wrong again"), 8)

    def test_a_name_cannot_pass_for_a_part_of_a_password(self) -> None:
        first, second = self.ask(b"alice", b"a"), self.ask(b"alicea", b"")
        self.reactor.advance(0)
        self.thread.run_all()
        self.assertEqual((first, second), ([Rights()], [None]))

    def test_who_need_not_wait_does_not_wait_with_one_who_must(self) -> None:
        slow = self.ask(failures=100)
        self.reactor.advance(1)
        self.assertEqual(self.thread.asked, [])
        quick = self.ask(peer="198.51.100.1")
        self.assertTrue(self.try_now())
        self.assertEqual((slow, quick), ([Rights()], [Rights()]))
        self.reactor.advance(60)
        self.assertEqual(self.thread.asked, [])

    def test_who_must_wait_does_not_hold_up_one_who_need_not(self) -> None:
        quick = self.ask(peer="198.51.100.1")
        slow = self.ask(failures=100)
        self.assertTrue(self.try_now())
        self.assertEqual((slow, quick), ([Rights()], [Rights()]))


class DelayTests(Case):
    """Attempts that must wait."""

    def wrong(self, number: int, **more: Any) -> float:
        return self.delay_of(b"alice", b"wrong %d" % number, **more)

    def test_the_first_three_are_free_and_then_it_takes_twice_as_long_each_time(self) -> None:
        delays = [self.wrong(number) for number in range(12)]
        self.assertEqual(delays, [0, 0, 0, 0.25, 0.5, 1, 2, 4, 8, 8, 8, 8])

    def test_each_address_has_its_own(self) -> None:
        # An IPv4 address is the same in IPv6's clothes; of IPv6, all of one network are one.
        for first, same, other in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("::ffff:203.0.113.1", "203.0.113.1", "::ffff:203.0.113.2"),
            ("2001:db8:1:2::3", "2001:db8:1:2:ffff::9", "2001:db8:1:3::3"),
            ("fe80::1%eth0", "fe80::2%eth0", "::1"),
            ("not an address", "not an address", "nor this"),
        ]:
            for number in range(3):
                self.wrong(number, peer=first)
            self.assertEqual(self.wrong(3, peer=same), 0.25, first)
            self.assertEqual(self.wrong(4, peer=other), 0, other)

    def test_all_who_come_by_a_unix_socket_are_one(self) -> None:
        delays = [self.wrong(number, peer=None) for number in range(5)]
        self.assertEqual(delays, [0, 0, 0, 0.25, 0.5])

    def test_a_connection_has_its_own(self) -> None:
        for before, delay in [(0, 0), (2, 0), (3, 0.25), (6, 2), (8, 8), (10**9, 8)]:
            peer = f"192.0.2.{before % 100}"
            self.assertEqual(self.wrong(before, peer=peer, failures=before), delay)

    def test_a_right_password_waits_too_for_it_is_not_known_to_be(self) -> None:
        for number in range(4):
            self.wrong(number)
        self.assertEqual(self.delay_of(), 0.5)

    def test_who_was_right_has_not_failed_and_those_who_failed_still_have(self) -> None:
        for number in range(2):
            self.wrong(number)
        self.assertEqual(self.delay_of(b"alice", b"a"), 0)
        self.assertEqual(self.delay_of(b"bob", b"b"), 0)
        self.assertEqual(self.wrong(2), 0)
        self.assertEqual(self.delay_of(b"carol", b"c"), 0.25)
        self.assertEqual(self.wrong(3), 0.25)

    def test_a_thousand_at_the_same_time_have_three_free_among_them(self) -> None:
        for number in range(1000):
            self.ask(password=b"wrong %d" % number)
        self.assertEqual([self.checked(seconds) for seconds in (0, 0.25, 0.25, 0.5)], [3, 1, 1, 1])
        self.assertEqual([self.checked(seconds) for seconds in (1, 2)], [1, 1])
        self.assertEqual(self.checked(4), MOST_OF_ADDRESS - 8)

    def checked(self, seconds: float) -> int:
        self.reactor.advance(seconds)
        return self.thread.run_all()

    def test_only_one_is_checked_at_a_time(self) -> None:
        answers = [self.ask(b"alice", b"%d" % peer, peer=f"192.0.2.{peer}") for peer in range(9)]
        self.reactor.advance(0)
        for number in range(9):
            self.assertEqual(len(self.thread.asked), 1)
            self.assertEqual(answers[number], [WAITS])
            self.thread.run()
            self.assertEqual(answers[number], [None])
        self.assertEqual(self.thread.asked, [])

    def test_an_address_is_forgotten_when_it_has_long_done_nothing(self) -> None:
        for number in range(4):
            self.wrong(number)
        self.reactor.advance(FORGOTTEN - 1)
        self.assertEqual(self.wrong(4), 0.5)
        self.reactor.advance(FORGOTTEN)
        self.assertEqual(self.wrong(5), 0)

    def test_one_that_has_waited_too_long_is_refused_unchecked(self) -> None:
        first = self.ask(b"bob", b"b", peer="192.0.2.2")
        self.reactor.advance(0)
        late = self.ask(b"alice", b"a", peer="192.0.2.3")
        self.reactor.advance(0.5)
        in_time = self.ask(b"carol", b"c", peer="192.0.2.4")
        self.reactor.advance(LONGEST_WAIT - 0.5)
        self.assertEqual(late, [WAITS])
        self.thread.run()
        self.assertEqual((first, late, in_time), ([Rights(True, b"b:")], [None], [WAITS]))
        self.assertEqual(self.thread.run_all(), 1)
        self.assertEqual(in_time, [Rights()])
        self.assertEqual(self.settle(peer="192.0.2.3"), Rights())

    def guess(self, count: int, peer: str) -> "list[list[Any]]":
        """So many different guesses at once."""
        return [self.ask(password=b"wrong %d" % number, peer=peer) for number in range(count)]

    def test_an_address_has_so_many_places_and_no_more(self) -> None:
        guesses = self.guess(MOST_OF_ADDRESS + 5, "203.0.113.1")
        self.reactor.advance(LAST_DELAY)
        self.assertEqual(guesses[MOST_OF_ADDRESS:], [[None]] * 5)
        self.assertEqual(self.thread.run_all(), MOST_OF_ADDRESS)
        self.assertEqual(guesses, [[None]] * (MOST_OF_ADDRESS + 5))

    def test_guessers_do_not_keep_out_who_has_never_been_in(self) -> None:
        self.guess(2000, "203.0.113.1")
        self.reactor.advance(LAST_DELAY)
        newcomer = self.ask(b"bob", b"b", peer="192.0.2.2")
        self.reactor.advance(0)
        # Behind the three that were free, and before all that have been delayed.
        for _ in range(FREE + 1):
            self.thread.run()
        self.assertEqual(newcomer, [Rights(True, b"b:")])

    def test_beyond_so_many_from_everywhere_one_is_refused_unchecked_and_not_blamed(self) -> None:
        for number in range(MOST_WAITING // MOST_OF_ADDRESS):
            for place in range(MOST_OF_ADDRESS):
                password = b"wrong %d %d" % (number, place)
                self.ask(password=password, peer=f"203.0.113.{number}")
        with capturedLogs() as events:
            refused = self.ask(b"bob", b"b", peer="192.0.2.2")
            self.reactor.advance(0)
            self.assertEqual(refused, [None])
        self.assertEqual(len(events), 0)
        self.reactor.advance(LAST_DELAY)
        self.thread.run_all()
        self.assertEqual(self.settle(b"bob", b"b", peer="192.0.2.2"), Rights(True, b"b:"))

    def test_who_is_known_comes_in_while_others_guess(self) -> None:
        self.settle()
        for number in range(2 * MOST_WAITING):
            self.ask(password=b"wrong %d" % number)
        self.assertEqual(self.ask(), [Rights()])


class TableTests(SynchronousTestCase):
    """The addresses that are remembered."""

    def setUp(self) -> None:
        self.reactor = ManualReactor()
        self.failures = Failures(self.reactor)

    def fail_from(self, peer: str) -> float:
        address = self.failures.begin(peer)
        delay = self.failures.delay(address, 0)
        self.failures.failed(address, b"name")
        return delay

    def test_there_are_so_many_and_the_oldest_is_forgotten(self) -> None:
        self.patch(failures, "MOST_ADDRESSES", 100)
        for _ in range(4):
            self.fail_from("first")
            self.fail_from("second")
        for number in range(98):
            self.fail_from(f"guest {number}")
        self.assertEqual(self.fail_from("first"), 0.5)
        self.assertEqual(self.fail_from("one more"), 0)
        self.assertEqual(len(self.failures), 100)
        self.assertEqual(self.fail_from("first"), 1)
        self.assertEqual(self.fail_from("second"), 0)

    def test_who_has_never_failed_is_not_remembered(self) -> None:
        first, second = self.failures.begin("host"), self.failures.begin("host")
        self.failures.passed(first)
        self.assertEqual(len(self.failures), 1)
        self.failures.passed(second)
        self.assertEqual(len(self.failures), 0)

    def test_what_is_old_takes_up_no_room(self) -> None:
        for number in range(10):
            self.fail_from(f"guest {number}")
        self.reactor.advance(FORGOTTEN - 1)
        self.fail_from("guest 3")
        self.assertEqual(len(self.failures), 10)
        self.reactor.advance(1)
        self.fail_from("guest 4")
        self.assertEqual(len(self.failures), 2)

    def test_an_answer_after_its_address_was_forgotten_is_nobodys(self) -> None:
        early = self.failures.begin("host")
        self.reactor.advance(FORGOTTEN)
        for _ in range(3):
            self.fail_from("host")
        self.failures.passed(early)
        self.assertEqual(self.fail_from("host"), 0.25)


class FileTests(Case):
    """The file, at the start and later."""

    def reload(self) -> "list[tuple[Any, str]]":
        with capturedLogs() as events:
            self.users.reload()
        return [(event["log_level"], formatEvent(event)) for event in events]

    def test_a_file_that_cannot_be_the_users_is_one_line_at_the_start(self) -> None:
        self.write(b"alice:a\nsecret\n")
        for path, words in [
            (self.path, "line 2: there is no colon"),
            (self.path.with_name("other"), "No such file"),
            (self.path.parent, "Is a directory"),
        ]:
            users = Users(str(path), self.reactor, self.thread.defer)
            text = str(self.assertRaises(StartError, users.load))
            self.assertIn(str(path), text)
            self.assertIn(words, text)
            self.assertNotIn("\n", text)
            self.assertNotIn("secret", text)

    def test_nobody_could_come_in_by_an_empty_file(self) -> None:
        self.write(b"# nobody yet\n")
        self.assertIn("no user", str(self.assertRaises(StartError, self.users.load)))

    def load(self) -> "list[str]":
        """What there is to say of the file when it is loaded."""
        with capturedLogs() as events:
            self.users.load()
        return [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]

    def test_there_are_warnings_of_passwords_that_others_can_see(self) -> None:
        self.write(self.FILE, 0o640)
        self.assertEqual(self.load(), [])
        self.write(b"dave:in clear\n" + self.FILE, 0o640)
        (plain,) = self.load()
        self.assertIn("1 of 4 passwords in clear", plain)
        for mode in (0o604, 0o602):
            self.write(self.FILE, mode)
            (seen,) = self.load()
            self.assertIn("chmod", seen)
        self.assertNotIn("in clear", f"{plain}{seen}".replace("passwords in clear", ""))

    def test_another_file_has_other_users(self) -> None:
        self.settle()
        self.settle(b"bob", b"b")
        self.write(line(b"alice", b"new") + line(b"dave", b"d"))
        self.assertEqual(self.reload(), [(LogLevel.info, f"{self.path} has 2 users")])
        self.assertIsNone(self.settle(b"alice", b"a", peer="192.0.2.2"))
        self.assertIsNone(self.settle(b"bob", b"b", peer="192.0.2.3"))
        self.assertEqual(self.settle(b"alice", b"new", peer="192.0.2.4"), Rights())
        self.assertEqual(self.settle(b"dave", b"d", peer="192.0.2.5"), Rights())

    def test_a_line_that_is_as_it_was_needs_no_proof_anew(self) -> None:
        self.settle()
        self.write(line(b"first", b"f") + self.FILE)
        self.reload()
        self.assertEqual(self.ask(), [Rights()])

    def test_other_rights_hold_from_then_on(self) -> None:
        secret = hash_password(b"a", ln=1)
        for rights in [(False, b""), (True, b""), (False, b"p"), (False, b"")]:
            self.write(spell(User(b"alice", secret, *rights)))
            self.reload()
            self.assertEqual(self.settle(), Rights(*rights))

    def test_a_user_who_is_taken_away_and_given_back_proves_it_anew(self) -> None:
        self.settle(b"bob", b"b")
        self.write(line(b"alice", b"a"))
        self.reload()
        self.write(self.FILE)
        self.reload()
        self.assertEqual(self.ask(b"bob", b"b"), [WAITS])

    def test_a_check_under_way_lets_nobody_in_whose_line_has_changed(self) -> None:
        gone, changed, kept = (
            self.ask(b"alice", b"a"),
            self.ask(b"bob", b"b"),
            self.ask(b"carol", b"c"),
        )
        self.reactor.advance(0)
        kept_line = self.FILE.splitlines(True)[2]
        self.write(line(b"bob", b"new") + kept_line)
        self.reload()
        self.thread.run_all()
        self.assertEqual((gone, changed, kept), ([None], [None], [Rights()]))
        self.assertEqual(self.ask(b"alice", b"a", peer="192.0.2.2"), [WAITS])

    def test_a_broken_file_changes_nothing_and_is_told(self) -> None:
        self.settle()
        for text in (b"alice:new\nsecret\n", b""):
            self.write(text, 0o666)
            ((level, message),) = self.reload()
            self.assertEqual(level, LogLevel.error)
            self.assertIn(str(self.path), message)
            self.assertIn("stay as they were", message)
            self.assertNotIn("secret", message)
        self.path.unlink()
        self.assertEqual(len(self.reload()), 1)
        self.assertEqual(self.ask(), [Rights()])
        self.assertEqual(self.settle(b"bob", b"b"), Rights(True, b"b:"))

    def test_warnings_are_repeated_when_the_file_is_read_again(self) -> None:
        self.write(self.FILE, 0o644)
        levels = [level for level, _ in self.reload()]
        self.assertEqual(levels, [LogLevel.warn, LogLevel.info])


class LogTests(Case):
    """What is told of failures."""

    def refuse(self, *guesses: "tuple[bytes, Optional[str]]") -> "list[str]":
        """What is logged of these names and peers, refused within a second."""
        with capturedLogs() as events:
            for name, peer in guesses:
                self.users._failures.failed(self.users._failures.begin(peer), name)
        for event in events:
            self.assertEqual(event["log_level"], LogLevel.warn)
        return [formatEvent(event) for event in events]

    def later(self, seconds: float) -> "list[str]":
        with capturedLogs() as events:
            self.reactor.advance(seconds)
        return [formatEvent(event) for event in events]

    def test_a_failure_is_told_with_its_peer_and_without_its_password(self) -> None:
        with capturedLogs() as events:
            self.settle(b"alice", b"secret")
            self.settle(b"bob", b"b")
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertEqual(
            formatEvent(event),
            "refused user 'alice' from 192.0.2.1; failures from there: 1",
        )
        self.assertNotIn("secret", repr(event))

    def test_a_name_can_forge_no_line(self) -> None:
        (text,) = self.refuse((b"a\r\n2024 {peer} \x1b[2J\xe2\x80\xa8\xff\xc3\xa9", None))
        self.assertIn("a\\r\\n2024 {peer} \\x1b[2J\\u2028\\udcff\u00e9", text)
        self.assertIn("from a UNIX socket", text)
        text.encode()

    def test_there_is_one_line_a_second_for_each_address(self) -> None:
        first = [(b"u%d" % number, "192.0.2.1") for number in range(100)]
        lines = self.refuse(*first, (b"v", "192.0.2.2"), *first)
        self.assertEqual([text.split()[2] for text in lines], ["'u0'", "'v'"])
        self.assertEqual(self.later(0.9), [])
        self.assertEqual(
            self.later(0.1),
            ["refused 199 more attempts from 192.0.2.1; failures from there: 200"],
        )
        self.assertEqual(
            self.refuse(first[0], (b"w", "192.0.2.2")),
            ["refused user 'w' from 192.0.2.2; failures from there: 2"],
        )
        (text,) = self.later(1)
        self.assertIn("refused 1 more", text)
        self.assertEqual(self.later(10), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.refuse(first[0])), 1)
