"""The `mctwist` command: what people do with a running server, and beside one."""
