"""What `mctwist top` and `mctwist bench` do: how fast a server is, and how that is shown."""
