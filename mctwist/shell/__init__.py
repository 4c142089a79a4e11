"""The `mctwist` command: what people do beside a running server. It knows nothing of servers."""
