"""The REPL of `mctwist shell`: what is typed, what is sent for it, and how its answer is shown."""
