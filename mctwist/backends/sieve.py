"""
What has been visited: for eviction, and for the time of an item's last access.

Nothing moves on a hit, so a read writes nothing: it leaves a *stamp* under the item's place in a
dict, 40 ns, and that is all. A stamp is one number, `now << 64 | sequence`: when, and the last
sequence number that there was, 0 for a visit that only wrote. An item has been fetched since it
was written if neither its sequence number nor its second is above those of the stamp.

    readers -> visits -> [fold, once a minute or when there are many] -> marks, a byte a place
                                                                      -> stamps, for the disk

`eviction` asks when one of its hands comes to a place. As in SIEVE the hand spares what has been
visited since it last came. What it has spared round after round it remembers, and that is spared
a round or two more before it goes: worth a tenth more room where requests follow Zipf's law.
"""

from collections import OrderedDict
from threading import Lock

#: Visits that are kept before they are folded. Of what is visited in one minute only so many
#: have the time of their access written down; their marks are kept for all.
MOST_VISITS = 100_000

#: Places in one piece of the marks, and the most pieces.
PIECE = 1024
MOST_PIECES = 65_536

#: Evicted keys that are known again when they come back.
MOST_GHOSTS = 100_000

#: A sequence number above all others.
ALL = (1 << 64) - 1

# A mark: whether the place has been visited, and above that in how many rounds.
_VISITED = 1
_ROUND = 2
_MOST = 3 * _ROUND
_UNKNOWN = object()


def stamp(now: int, sequence: int) -> int:
    """The stamp of a moment, in milliseconds since the epoch."""
    return now << 64 | sequence


def seen(stamp: int) -> "tuple[int, int]":
    """The moment, in seconds since the epoch, and the sequence number of a stamp."""
    return (stamp >> 64) // 1000, stamp & ALL


class Sieve:
    """
    :ivar visits: the place of what has been visited, and the stamp of it. Readers write to it
        without a lock, and get hold of it anew for every list of steps.
    """

    def __init__(self) -> None:
        self.visits: dict[int, int] = {}
        self._marks: dict[int, bytearray] = {}
        self._met: set[int] = set()  # the pieces of the marks that this round has come to
        self._stamps: dict[int, int] = {}  # not yet written down
        self._folding: dict[int, int] = {}
        self._lock = Lock()  # of the marks
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # hashes of keys, oldest first

    def stamp_of(self, place: int) -> int:
        """The last stamp there is of `place`; 0: none."""
        return self.visits.get(place) or self._folding.get(place) or self._stamps.get(place) or 0

    def admit(self, place: int) -> bool:
        """The gate has come to `place`: whether it has been visited at all."""
        number, index = divmod(place, PIECE)
        visited = self._take_visit(place)
        with self._lock:
            piece = self._marks.get(number)
            if piece is not None and piece[index]:
                piece[index] = 0
                visited = True
        return visited

    def spare(self, place: int) -> bool:
        """The hand has come to `place`: whether it is to stay."""
        number, index = divmod(place, PIECE)
        visited = self._take_visit(place)
        with self._lock:
            self._met.add(number)
            piece = self._marks.get(number)
            if piece is None:
                if not visited:
                    return False
                piece = self._marks[number] = bytearray(PIECE)
            mark = piece[index]
            if visited or mark & _VISITED:
                piece[index] = min((mark & ~_VISITED) + _ROUND, _MOST)
                return True
            piece[index] = max(mark - _ROUND, 0)
            return mark > _ROUND

    def _take_visit(self, place: int) -> bool:
        visit = self.visits.pop(place, None)
        if visit is not None and len(self._stamps) < MOST_VISITS:
            self._stamps[place] = visit
        return visit is not None

    def end_round(self, gate: int) -> None:
        """The hand has come to the gate: what it has not met on the way is gone."""
        with self._lock:
            self._marks = {
                number: piece
                for number, piece in self._marks.items()
                if number in self._met or number >= gate // PIECE
            }
            self._met = set()

    # Who has been evicted

    @property
    def has_ghosts(self) -> bool:
        return bool(self._ghosts)

    def remember(self, key: bytes) -> None:
        """`key` has been evicted before anybody had visited it twice."""
        self._ghosts[hash(key)] = None
        if len(self._ghosts) > MOST_GHOSTS:
            self._ghosts.popitem(last=False)

    def knows(self, key: bytes) -> bool:
        """Whether `key` is remembered; it is forgotten now."""
        return self._ghosts.pop(hash(key), _UNKNOWN) is None

    def visit(self, place: int) -> None:
        """Mark `place` as visited."""
        number, index = divmod(place, PIECE)
        with self._lock:
            self._marks.setdefault(number, bytearray(PIECE))[index] |= _VISITED

    def fold(self) -> None:
        """Make marks of the visits."""
        self._folding, self.visits = self.visits, {}
        visits = list(self._folding.items())
        with self._lock:
            marks = self._marks
            for place, _ in visits:
                number, index = divmod(place, PIECE)
                piece = marks.get(number)
                if piece is None:
                    piece = marks[number] = bytearray(PIECE)
                piece[index] |= _VISITED
            while len(marks) > MOST_PIECES:
                del marks[next(iter(marks))]
        room = MOST_VISITS - len(self._stamps)
        self._stamps.update(visits[: max(room, 0)])
        self._folding = {}

    def stamps(self) -> "dict[int, int]":
        """The stamps that are to be written down."""
        return dict(self._stamps)

    def written(self, stamps: "dict[int, int]") -> None:
        """Forget `stamps`: the store has them."""
        for place, stamp in stamps.items():
            if self._stamps.get(place) == stamp:
                del self._stamps[place]
