"""What commands print, as a terminal gets it."""

from contextlib import redirect_stdout
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from mctwist.shell.output import print_rows


class TerminalText(StringIO):
    """A terminal, as far as one is asked for."""

    def isatty(self) -> bool:
        return True


class TableTests(SynchronousTestCase):
    """Tables for people."""

    def test_a_key_is_neither_markup_nor_an_escape_sequence(self) -> None:
        with redirect_stdout(TerminalText()) as shown:
            print_rows(("first",), [("[/x] [red]\x1b[31m",)])
        self.assertIn("[/x] [red]\\x1b[31m", shown.getvalue())
