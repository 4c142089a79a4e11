"""
Who may come in: the users of one server, and the checking of their passwords.

    check -> known to be right: answered at once
          -> waiting, as long as `failures` says -> queue -> [thread: passwords.verify] -> answer

A hash is made to cost much, and memcached's clients connect all the time. So what has proven
right once is recognised from then on, by a digest with a key of this process that is fast to
make; and who asks for the same user with the same password while that is being checked shares
the check. All else waits, and is checked one at a time over the whole server: whoever guesses
takes up one thread, and holds up none who are known. Who has not had to be delayed goes first, and
an address has but a few places, so guessers hold up each other more than those who come anew.

The rule: an answer tells nothing but yes or no. A name that there is not is checked like one that
there is, against another's line, so that it takes as long, where all hashes cost the same.

Nothing here starts a thread, or knows of protocols and stores.
"""

import hmac
import os
import stat
from collections import deque
from collections.abc import Mapping
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mctwist import passwords
from mctwist.failures import Address, Failures
from mctwist.interfaces import IUsers, Rights, StartError
from mctwist.passwords import MOST_NAME, MOST_PASSWORD, PasswordsError, User

#: So many attempts may wait to be checked, so many of one address, ...
MOST_WAITING, MOST_OF_ADDRESS = 1024, 16
#: ... so many seconds; those beyond are refused unchecked.
LONGEST_WAIT = 30.0


class Attempt:
    """
    A name and a password that are to be checked, for all who have come with them.

    :ivar since: when the first of them came.
    :ivar delay: the delayed call by which it will be its turn to queue.
    :ivar asking: where each came from, and the Deferred that it waits for.
    """

    __slots__ = ("asking", "delay", "digest", "name", "password", "since")

    def __init__(self, name: bytes, password: bytes, digest: bytes, since: float) -> None:
        self.name = name
        self.password = password
        self.digest = digest
        self.since = since
        self.asking: list[tuple[Address, Deferred[Optional[Rights]]]] = []
        self.delay: Any = None


@implementer(IUsers)
class Users:
    """
    The users of the file at `path`, when it has been loaded.

    :param path: absolute, for a daemon changes its directory.
    :param defer_to_thread: takes a function and its arguments, and returns a Deferred of what it
        returns; is asked for one at a time.
    """

    log = Logger()

    def __init__(
        self, path: str, reactor: Any, defer_to_thread: "Callable[..., Deferred[Any]]"
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._defer_to_thread = defer_to_thread
        self._failures = Failures(reactor)
        self._key = os.urandom(32)
        self._users: Mapping[bytes, User] = {}
        self._stand_ins: list[User] = []
        self._proven: dict[bytes, bytes] = {}  # by name, the digest of what was right
        self._attempts: dict[bytes, Attempt] = {}  # by digest, those that are not answered
        self._waiting = 0  # who ask, over all attempts
        # To be checked: those who have not been delayed, and those who have.
        self._queues: tuple[deque[Attempt], deque[Attempt]] = (deque(), deque())
        self._busy = False

    def load(self) -> None:
        """
        Read the file.

        :raises StartError: it cannot be read, is wrong, or there is nobody in it.
        """
        try:
            users = passwords.parse(passwords.read(self._path))
            mode = os.stat(self._path).st_mode
        except OSError as fault:
            raise StartError(f"cannot read {self._path}: {fault.strerror}") from None
        except PasswordsError as fault:
            raise StartError(f"{self._path}: {fault}") from None
        if not users:
            raise StartError(f"{self._path}: there is no user in it: add one by `mctwist passwd`")
        # A line that is as it was is still proven right by what it was.
        self._proven = {
            name: digest
            for name, digest in self._proven.items()
            if users.get(name) == self._users[name]
        }
        self._users, self._stand_ins = users, list(users.values())
        for warning in _warnings(self._path, users, mode):
            self.log.warn("{text}", text=warning)

    def reload(self) -> None:
        """Read the file again; if that fails keep the users that there are, and say so."""
        try:
            self.load()
        except StartError as fault:
            self.log.error("the users stay as they were: {fault}", fault=fault)
            return
        self.log.info("{path} has {count} users", path=self._path, count=len(self._users))

    def check(
        self, name: bytes, password: bytes, peer: Optional[str], failures: int
    ) -> "Deferred[Optional[Rights]]":
        # Nobody's is longer; cut, so that those who wait do not hold what clients like to send.
        name, password = name[: MOST_NAME + 1], password[: MOST_PASSWORD + 1]
        digest = self._digest(b"%d %s%s" % (len(name), name, password))
        if hmac.compare_digest(self._proven.get(name, b""), digest):
            return succeed(_rights(self._users[name]))
        address = self._failures.begin(peer)
        delay = self._failures.delay(address, failures)
        now = self._reactor.seconds()
        answer: Deferred[Optional[Rights]] = Deferred()
        attempt = self._attempts.get(digest)
        if self._waiting >= MOST_WAITING or (attempt is None and address.pending > MOST_OF_ADDRESS):
            # Nobody knows whether it is right, so it is not held against the address.
            self._failures.passed(address)
            self._reactor.callLater(delay, answer.callback, None)
            return answer
        if attempt is None:
            attempt = self._attempts[digest] = Attempt(name, password, digest, now)
            queue = self._queues[delay > 0]
            attempt.delay = self._reactor.callLater(delay, self._enqueue, attempt, queue)
        elif attempt.delay.active() and attempt.delay.getTime() > now + delay:
            # It is the same guess: the least of the delays is what it has to wait.
            attempt.delay.reset(delay)
        attempt.asking.append((address, answer))
        self._waiting += 1
        return answer

    def _enqueue(self, attempt: Attempt, queue: "deque[Attempt]") -> None:
        queue.append(attempt)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        """Have the first of those who wait checked, and refuse those before it that are too old."""
        late = []
        fresh, delayed = self._queues
        while (fresh or delayed) and not self._busy:
            attempt = (fresh or delayed).popleft()
            if self._reactor.seconds() - attempt.since >= LONGEST_WAIT:
                late.append(attempt)
                continue
            self._busy = True
            user = self._users.get(attempt.name)
            done = self._defer_to_thread(
                passwords.verify, user or self._stand_in(attempt.name), attempt.password
            )
            done.addErrback(self._cannot_check)
            done.addCallback(self._have_checked, attempt, user)
        for attempt in late:
            self._answer(attempt, None)

    def _have_checked(self, right: bool, attempt: Attempt, user: Optional[User]) -> None:
        self._busy = False
        # Whose line has changed meanwhile has been checked against what holds no longer.
        if right and user is not None and self._users.get(user.name) == user:
            self._proven[user.name] = attempt.digest
            rights: Optional[Rights] = _rights(user)
        else:
            rights = None
        self._next()
        self._answer(attempt, rights)

    def _cannot_check(self, failure: Failure) -> bool:
        self.log.failure("a password could not be checked", failure)
        return False

    def _answer(self, attempt: Attempt, rights: Optional[Rights]) -> None:
        del self._attempts[attempt.digest]
        self._waiting -= len(attempt.asking)
        for address, answer in attempt.asking:
            if rights is None:
                self._failures.failed(address, attempt.name)
            else:
                self._failures.passed(address)
            answer.callback(rights)

    def _stand_in(self, name: bytes) -> User:
        """The user against whose line `name`, which nobody has, is checked: always the same."""
        place = int.from_bytes(self._digest(name)[:8], "big")
        return self._stand_ins[place % len(self._stand_ins)]

    def _digest(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")


def _rights(user: User) -> Rights:
    return Rights(user.read_only, user.prefix)


def _warnings(path: str, users: "Mapping[bytes, User]", mode: int) -> "list[str]":
    warnings = []
    plain = sum(isinstance(user.secret, bytes) for user in users.values())
    if plain:
        warnings.append(
            f"{path} has {plain} of {len(users)} passwords in clear: `mctwist passwd` hashes them"
        )
    secrets = [user.secret for user in users.values()]
    costs = {(each.ln, each.r, each.p) for each in secrets if not isinstance(each, bytes)}
    if len(costs) > 1:
        warnings.append(
            f"the hashes in {path} cost differently, and that tells which names there are: set the "
            "passwords of the others anew"
        )
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        warnings.append(f"whoever has a login here may read or write {path}: chmod o-rw {path}")
    return warnings
