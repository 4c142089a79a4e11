"""`twistd mctwist`."""

from twisted.application.service import ServiceMaker

mctwist = ServiceMaker(
    "mctwist", "mctwist.tap", "A memcached server whose values survive.", "mctwist"
)
