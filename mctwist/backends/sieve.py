"""
What has been visited: for eviction, and for the time of an item's last access.

Eviction is SIEVE (Zhang and others, NSDI 2024), with a memory. Items stay in the order in which
they came. A hand moves from the oldest to the newest and begins again; it spares what has been
visited since it last came, and evicts what has not. What it has spared round after round it
remembers: that is spared a round or two more before it goes, which on Zipf's law is worth as much
as a tenth more room. Nothing moves on a hit, so a read writes nothing: it leaves a *stamp* under
the item's place in a dict, 40 ns, and that is all.

A stamp is one number, `second << 64 | sequence`: when, and the last sequence number that there
was, 0 for a visit that only wrote. An item has been fetched since it was written if neither its
sequence number nor its second is above those of the stamp.

    readers -> visits -> [fold, once a minute or when there are many] -> marks, a byte a place
                                                                      -> stamps, for the disk
"""

from threading import Lock

#: Visits that are kept before they are folded. Of what is visited in one minute only so many
#: have the time of their access written down; their marks are kept for all.
MOST_VISITS = 100_000

#: Places in one piece of the marks, and the most pieces.
PIECE = 1024
MOST_PIECES = 65_536

#: A sequence number above all others.
ALL = (1 << 64) - 1

# A mark: whether the place has been visited, and above that in how many rounds.
_VISITED = 1
_ROUND = 2
_MOST = 3 * _ROUND


def stamp(second: int, sequence: int) -> int:
    return second << 64 | sequence


def seen(stamp: int) -> "tuple[int, int]":
    """The second and the sequence number of a stamp."""
    return stamp >> 64, stamp & ALL


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

    def stamp_of(self, place: int) -> int:
        """The last stamp there is of `place`; 0: none."""
        return self.visits.get(place) or self._folding.get(place) or self._stamps.get(place) or 0

    def spare(self, place: int) -> bool:
        """The hand has come to `place`: whether it is to stay."""
        visit = self.visits.pop(place, None)
        if visit is not None and len(self._stamps) < MOST_VISITS:
            self._stamps[place] = visit
        number, index = divmod(place, PIECE)
        with self._lock:
            piece = self._marks.get(number)
            if piece is None:
                if visit is None:
                    return False
                piece = self._marks[number] = bytearray(PIECE)
            self._met.add(number)
            mark = piece[index]
            if visit is not None or mark & _VISITED:
                piece[index] = min((mark & ~_VISITED) + _ROUND, _MOST)
                return True
            if mark > _ROUND:
                piece[index] = mark - _ROUND
                return True
            piece[index] = 0
            return False

    def end_round(self) -> None:
        """The hand has come to the newest: what it has not met on the way is gone."""
        with self._lock:
            self._marks = {
                number: piece for number, piece in self._marks.items() if number in self._met
            }
            self._met = set()

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
