"""What other programs need, to use mctwist. It talks to a server, and knows nothing of one."""
