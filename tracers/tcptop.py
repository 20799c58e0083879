"""tcptop: bytes that programs send and receive by TCP."""

from pytracer.spec import GroupBy, Table, Tracer
from pytracer.spec.common import ONLY_NETWORKS, return_of
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Fexit, Hook
from pytracer.spec.tcp import CONNECTION_KEYS, RX, SOCKET_BYTES, TX

RING_SPLICE = Hook(
    "ring_splice",
    "io_uring splices",
    (Alternative("fexit", (Fexit("ring_spliced", function="do_splice"),)), Alternative("none", ())),
)

TRACER = Tracer(
    name="tcptop",
    group="network",
    summary="bytes that programs send and receive by TCP, by process and connection",
    description="Adds up the bytes that programs send and receive by TCP connections.",
    hooks=(SOCKET_BYTES, return_of("splice getsockopt"), RING_SPLICE),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy("by", "the key of a row; several with commas", keys=CONNECTION_KEYS, default="pid"),
        ONLY_NETWORKS,
    ),
    outputs=(Table("rows", (TX, RX), sort="tx_bytes"),),
    examples=(
        ("tcptop", "every process, a table a second"),
        ("tcptop --by pid,local,peer 5", "each connection, every five seconds"),
        ("tcptop --by address --sort rx_bytes", "by the other end, who sends most to this machine first"),
    ),
    notes=(
        "Bytes are those of system calls: buffered data counts, retransmissions do not.",
        "Before Linux 6.3 it needs trampolines. What splice(2) and TCP_ZEROCOPY_RECEIVE take from a",
        "connection counts; what io_uring splices needs trampolines, and before Linux 5.12 has no process.",
    ),
)
