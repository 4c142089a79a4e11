"""What `mctwist dump` and `mctwist load` do: items out of servers, and into them."""
