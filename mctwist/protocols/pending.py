"""What of the input has not come whole, and what of it is let go as it comes."""

from typing import Any, Optional

# What arrives in smaller pieces is put together as it comes: a piece costs 40 bytes of its own.
_SMALL = 4096


def keep(pieces: "list[Any]", piece: bytes) -> None:
    """Add `piece` to what has not come whole."""
    if len(piece) >= _SMALL:
        pieces.append(piece)
    elif pieces and type(pieces[-1]) is bytearray:
        pieces[-1] += piece
    else:
        pieces.append(bytearray(piece))


class Pending:
    """
    The input of one connection, for a dialect that knows how much it waits for.

    :ivar needed: bytes that have to be there to be looked at again; 0: the end of a line has.
    :ivar skipped: bytes that are still to be let go.
    """

    __slots__ = ("_pieces", "_size", "needed", "skipped")

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._size = 0
        self.needed = 0
        self.skipped = 0

    def __len__(self) -> int:
        """How many pieces are kept."""
        return len(self._pieces)

    def join(self, data: bytes, longest_line: int = 0) -> Optional[bytes]:
        """
        All that there is with `data`, which has just come; None: that is too little.

        :param longest_line: one beyond that is looked at without its end.
        """
        if self.skipped:
            skipped = min(self.skipped, len(data))
            self.skipped -= skipped
            data = data[skipped:]
        if not self._pieces:
            return data
        keep(self._pieces, data)
        self._size += len(data)
        if self._size < self.needed:
            return None
        if not self.needed and b"\n" not in data and self._size <= longest_line:
            return None
        whole, self._pieces = b"".join(self._pieces), []
        return whole

    def keep(self, rest: bytes) -> None:
        """Keep what could not be taken of what `join` has given."""
        keep(self._pieces, rest)
        self._size = len(rest)

    def let_go(self, end: int, size: int) -> int:
        """Let go what is before `end`, though only `size` bytes have come: where to go on."""
        self.skipped = max(end - size, 0)
        return min(end, size)

    def clear(self) -> None:
        self._pieces = []
