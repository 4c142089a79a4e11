"""mctwist: a memcached server whose values survive, as one Twisted service."""

__version__ = "0.1.0"
