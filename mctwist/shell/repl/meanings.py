"""What the errors of a server mean, for people who meet them for the first time."""

#: What an error begins with, and what it means; the first that fits.
_MEANINGS = (
    (
        b"SERVER_ERROR out of memory",
        "the server is full: delete something, or let it evict or have more room (-m)",
    ),
    (
        b"SERVER_ERROR object too large",
        "the value is longer than the server takes (--max-item-size, -I); "
        "a set takes the old value away even so",
    ),
    (b"SERVER_ERROR not supported by this backend", "this kind of store keeps keys in no order"),
    (b"SERVER_ERROR: shutdown not enabled", "the server is to be started with -A for that"),
    (b"ERROR: shutdown not enabled", "the server is to be started with -A for that"),
    (
        b"CLIENT_ERROR bad data chunk",
        "the value is longer or shorter than was said, or does not end with \\r\\n",
    ),
    (
        b"CLIENT_ERROR bad command line format",
        "too few words, a number that is none, or a key of over 250 bytes",
    ),
    (
        b"CLIENT_ERROR cannot increment or decrement non-numeric",
        "only a value that is a number, written in digits, can be counted up and down",
    ),
    (b"CLIENT_ERROR invalid exptime", "seconds; over thirty days it is a date"),
    (b"CLIENT_ERROR invalid numeric delta", "a number from 0 on, of 64 bits"),
    (b"CLIENT_ERROR unauthenticated", "the server wants to know who you are: --user NAME"),
    (b"CLIENT_ERROR authentication failure", "no such user, or another password"),
    (b"CLIENT_ERROR permission denied", "this user may not: it may only read, or other keys"),
    (b"CLIENT_ERROR invalid flag", "one of the flags is none of this command: help COMMAND"),
    (b"CLIENT_ERROR duplicate flag", "a flag may be there once"),
    (b"CLIENT_ERROR invalid or duplicate flag", "one of the flags is none of ma's, or there twice"),
    (b"CLIENT_ERROR options flags are too long", "a line has twenty words at most"),
    (b"CLIENT_ERROR bad token", "the argument of a flag is missing, or no number"),
    (b"CLIENT_ERROR error decoding key", "with the flag b the key is to be in base64"),
    (b"BUSY", "one dump at a time: somebody else has asked for one"),
    (b"WATCHER_TOO_MANY", "too many watch already"),
    (b"MEMLIMIT_TOO_SMALL", "8 megabytes are the least"),
)

#: What an answer to a meta command means.
META = {
    "HD": "done",
    "EN": "not found",
    "NF": "not found",
    "NS": "not stored",
    "EX": "changed by somebody else: the CAS unique differs",
    "MN": "",
}


def meaning(line: bytes) -> str:
    """What the error `line` means; nothing: it says so itself."""
    return next((text for start, text in _MEANINGS if line.startswith(start)), "")
