"""The tests of mctwist."""
