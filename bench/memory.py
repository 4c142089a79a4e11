"""The peak of memory of a fresh server that stores every key and reads it back.

Pages of the mapped store are the kernel's to keep or drop and are left out (RssAnon); the kernel
keeps no peak of that, hence the samples.
"""

from threading import Event, Thread

from attrs import frozen

from bench.cells import preload
from bench.servers import Server

#: Seconds between two samples.
PERIOD = 0.005


@frozen
class Memory:
    """Bytes."""

    peak_anonymous: int
    peak_resident: int


def weigh(server: Server) -> Memory:
    done = Event()
    samples: list[int] = [server.memory("RssAnon")]

    def sample() -> None:
        while not done.wait(PERIOD):
            samples.append(server.memory("RssAnon"))

    thread = Thread(target=sample)
    thread.start()
    try:
        preload(server)
    finally:
        done.set()
        thread.join()
    return Memory(max(samples), server.memory("VmHWM"))
