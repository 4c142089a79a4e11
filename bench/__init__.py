"""Side-by-side benchmark: mctwist against memcached and Redis on the machine at hand.

``python -m bench`` starts the servers, loads each in turn, and writes ``bench/results.md``. A
figure of one machine means little; a ratio means much, so all servers run in one run, round by
round, and one load generator (``load``) makes every figure that enters a ratio.
"""
