"""
How much of the limit there is for items, and how their pages are kept full.

The limit is of items, as memcached counts them; the files may be a quarter larger. LMDB fills its
pages by half when it splits them and does not merge them before they are a quarter full, so what
is evicted leaves holes, and small items would take up twice their room. While the pages take more
than their part, two things are done: they are written anew, a piece at a time and in order, which
fills them; and where that is not enough, fewer items are allowed.
"""

from mctwist.backends.tables import Tables

#: The tables and journals may be so much larger than the limit.
FILE_RATIO = 1.22

#: For each byte of a checkpoint so many are written anew, and so many in one transaction.
REPACKED = 8
PIECE = 1 << 20


class Packing:
    """
    :param limit: bytes of items.
    :ivar allowed: bytes of items above which there is eviction.
    :ivar due: bytes that are to be written anew.
    """

    def __init__(self, limit: int) -> None:
        self.limit = self.allowed = limit
        self.due = 0
        self._place = b""  # where to go on

    def resize(self, limit: int) -> None:
        """Have another limit."""
        self.limit = self.allowed = limit

    @property
    def most_bytes(self) -> int:
        """What tables and journals may take up."""
        return int(FILE_RATIO * self.limit)

    def checkpointed(self, tables: Tables, stored: int, size: int) -> None:
        """
        A checkpoint of about `size` bytes has been written.

        :param stored: bytes of items, as memcached counts them.
        """
        bound = self.most_bytes - 2 * size
        if tables.taken > bound - size:
            self.due = REPACKED * size
        over = tables.taken - bound
        if over > 0:
            self.allowed = min(self.allowed, stored - over)
        else:
            self.allowed = min(self.limit, self.allowed + self.limit // 64)

    def repack(self, tables: Tables) -> None:
        """Write a piece anew."""
        piece = max(min(self.limit // 128, PIECE), 64 << 10)
        self._place = tables.repack(self._place, piece)
        self.due = max(self.due - piece, 0)
