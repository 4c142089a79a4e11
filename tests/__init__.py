"""The tests of mctwist."""

from twisted.trial.util import suppress

#: Where hypothesis looks up what it has drawn before, it compares bytes with numbers now and then,
#: which is an error under `python -b`. A module's `suppress` is trial's to look for.
DRAWN_IS_COMPARED = [suppress(category=BytesWarning, module=r"hypothesis\.")]
