"""The kinds of store: each a file that implements `IBackend`, none of them aware of Twisted."""
