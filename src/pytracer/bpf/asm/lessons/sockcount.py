"""A lesson in BPF: probes_c/sockcount.c without a compiler, in four steps.

You know C, and want to know what a BPF program is. It is an array of 8-byte instructions that the kernel
checks, compiles to machine code, and runs at its attach point: here once for every packet that a socket
sees. It shares memory with us through *maps*, tables in the kernel that both sides look up by key.

    step 1   create the maps
    step 2   write the instructions
    step 3   load them, and read what the verifier says if it refuses
    step 4   attach the program to a socket, and read the maps while it counts

Nothing is hidden in a library: step 1 and step 3 are one system call each, bpf(2), and the assembler of
step 2 only saves us from adding up bit fields and counting jumps. Try it as root; without an interface it
shows the finished program::

    python -m pytracer.bpf.asm.lessons.sockcount [lo]
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pytracer.arrays import np
from pytracer.bpf.asm.assembler import Assembler, HelperId, Register, Size
from pytracer.bpf.attach import socket_filter
from pytracer.bpf.load.loader import load_code
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, ProgType, map_create, prog_load
from pytracer.errors import BuildError
from pytracer.kernel.policy import explain, raise_memlock
from pytracer.model.loss import REASONS

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register
W, H, B, DW = Size  # 4, 2, 1 and 8 bytes

# What a packet counts as: the number of an IP protocol, one of the codes below, or FRAME | EtherType.
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
OTHER, MALFORMED, LLC, FRAME = 0x100, 0x101, 0x102, 0x10000

IN, OUT, BOTH = 0, 1, 2  # the direction asked for, in the map pt_config
DIRECTION = 0  # its slot there
LOST_ROWS = list(REASONS).index("map_full")  # its slot in the map pt_losses

KEY = np.dtype([("interface", "u4"), ("protocol", "u4")], align=True)
COUNTS = np.dtype([("packets", "u8"), ("bytes", "u8")], align=True)
INDEX, U32, U64 = np.dtype("i4"), np.dtype("u4"), np.dtype("u8")


# Step 1: create the maps
# -----------------------
# A map is a table of so many entries with keys and values of fixed sizes. The kernel knows nothing of their
# meaning. We get a file descriptor; when the last one is closed, and no program uses it, the map is gone.


def create_maps(maps: dict[str, Map], config: Sequence[int], rows: int) -> None:
    """Create the maps of probes_c/sockcount.c and of the headers it includes. Raises OSError."""
    # What is counted. Each CPU has values of its own, so that none waits for another; we add them up.
    maps["rows"] = _create("rows", MapType.PERCPU_HASH, KEY, COUNTS, rows)
    # How long the link header is, for interfaces that have another one than Ethernet's.
    maps["links"] = _create("links", MapType.HASH, U32, U32, 4096)
    # What the user asked for. The program reads it for each packet: it need not be written anew.
    maps["pt_config"] = _create("pt_config", MapType.ARRAY, INDEX, U64, len(config))
    for slot, value in enumerate(config):
        maps["pt_config"].update(struct.pack("i", slot), struct.pack("Q", value))
    # How often there was no room, by reason. A count that could be short without a word is no count.
    maps["pt_losses"] = _create("pt_losses", MapType.PERCPU_ARRAY, INDEX, U64, len(REASONS))


def _create(name: str, kind: MapType, key: np.dtype[Any], value: np.dtype[Any], max_entries: int) -> Map:
    raise_memlock()  # before Linux 5.11 maps counted as locked memory, of which there may be little
    fd = map_create(kind, key.itemsize, value.itemsize, max_entries)
    return Map(name, fd, kind, max_entries, lambda: (key, value), (key.names or (), value.names or ()))


# Step 2: write the instructions
# ------------------------------
# The program is called with R1 pointing at a struct __sk_buff, the kernel's description of a packet. That
# struct does not exist: the verifier turns each read of a member into a read of the real struct sk_buff,
# wherever that kernel has it. These are the members we read (include/uapi/linux/bpf.h):

SKB_LEN = 0
SKB_PKT_TYPE = 4  # whom the packet is for; PACKET_OUTGOING is one that leaves
SKB_PROTOCOL = 16  # the EtherType, as the kernel understood it, in the order of the network
SKB_IFINDEX = 40
PACKET_OUTGOING = 4
ETHERNET_HEADER = 14
IPV4, VLAN, IPV6, QINQ = 0x0800, 0x8100, 0x86DD, 0x88A8  # EtherTypes
TYPE_MIN = 0x600  # below, IEEE 802.3 has a length where Ethernet has the type
FRAGMENT, AUTHENTICATION = 44, 51
EXTENSIONS = (0, 43, FRAGMENT, AUTHENTICATION, 60, 135, 139, 140)  # IPv6 headers with another one behind

# Calls of kernel functions destroy R1 to R5, so what is to last lives in R6 to R9:
#   R6   the packet (struct __sk_buff)
#   R7   the EtherType; in the end, what the packet counts as
#   R8   how far into the packet we have read
#   R9   the IP protocol
# What a helper is to read or write must be in memory. The stack ends at R10 and grows downwards:

ROW = -8  # struct row_key: u32 interface, u32 protocol
ZERO = -24  # struct row_value: a row that has counted nothing yet
SLOT = -32  # the index of an array
BYTES = -72  # 40 bytes of the packet, the fixed part of an IPv6 header


def write(a: Assembler, maps: dict[str, Map]) -> None:
    """Write the program: it parses the packet and counts it by protocol."""
    a.comment("keep the packet where calls leave it alone")
    a.mov(R6, R1)
    _check_direction(a, maps)
    _find_ethertype(a, maps)
    _skip_tags(a)
    a.jump_if(R7, ">=", TYPE_MIN, "typed")
    a.mov(R7, LLC)
    a.jump("count")
    a.label("typed")
    a.comment("what does the frame hold?")
    a.jump_if(R7, "==", IPV4, "ipv4")
    a.jump_if(R7, "==", IPV6, "ipv6")
    a.alu(R7, "|=", FRAME)
    a.jump("count")
    _read_ipv4(a)
    _read_ipv6(a)
    a.label("other")
    a.mov(R7, OTHER)
    a.jump("count")
    a.label("known")
    a.mov(R7, R9)
    a.jump("count")
    a.label("malformed")
    a.mov(R7, MALFORMED)
    _count(a, maps)
    a.label("out")
    a.comment("a socket filter returns how many bytes the socket shall get: none, we only look")
    a.mov(R0, 0)
    a.exit()


def _check_direction(a: Assembler, maps: dict[str, Map]) -> None:
    a.comment("direction = pt_config[DIRECTION]")
    a.store(W, R10, SLOT, DIRECTION)
    _look_up(a, maps["pt_config"], SLOT)
    # A look-up gives a pointer or 0. The verifier refuses the program if we use it without having asked.
    a.jump_if(R0, "==", 0, "out")
    a.load(DW, R1, R0, 0)
    a.jump_if(R1, "==", BOTH, "wanted")
    a.comment("which way does this packet go?")
    a.mov(R2, IN)
    a.load(W, R3, R6, SKB_PKT_TYPE)
    a.jump_if(R3, "!=", PACKET_OUTGOING, "compare")
    a.mov(R2, OUT)
    a.label("compare")
    a.jump_if(R1, "!=", R2, "out")
    a.label("wanted")


def _find_ethertype(a: Assembler, maps: dict[str, Map]) -> None:
    a.comment("the row's interface, which is also the key of links")
    a.load(W, R1, R6, SKB_IFINDEX)
    a.store(W, R10, ROW, R1)
    _look_up(a, maps["links"], ROW)
    a.jump_if(R0, "==", 0, "ethernet")
    a.load(W, R8, R0, 0)
    a.jump_if(R8, "==", ETHERNET_HEADER, "ethernet")
    a.comment("a link that is not Ethernet: only the kernel knows the EtherType")
    a.load(W, R7, R6, SKB_PROTOCOL)
    a.from_big_endian(R7, 16)
    a.jump("typed")
    a.label("ethernet")
    a.comment("Ethernet: 6 bytes to, 6 bytes from, 2 bytes EtherType")
    _read_packet(a, 12, 2)
    a.load(H, R7, R10, BYTES)
    a.from_big_endian(R7, 16)
    a.mov(R8, ETHERNET_HEADER)


def _skip_tags(a: Assembler) -> None:
    # The verifier of old knew no loops, and followed every path to its end. What C unrolls with a pragma,
    # we unroll in Python: this writes the same instructions twice, with labels of their own.
    for tag in ("first", "second"):
        a.comment(f"a VLAN tag? the {tag}")
        a.jump_if(R7, "==", VLAN, f"{tag}_tag")
        a.jump_if(R7, "!=", QINQ, "untagged")
        a.label(f"{tag}_tag")
        a.comment("2 bytes of its own, then the EtherType of what it marks")
        a.add(R8, 2)
        _read_packet(a, R8, 2)
        a.load(H, R7, R10, BYTES)
        a.from_big_endian(R7, 16)
        a.add(R8, 2)
    a.label("untagged")


def _read_ipv4(a: Assembler) -> None:
    a.label("ipv4")
    _read_packet(a, R8, 20)
    a.comment("the first byte: 4, the version of IP, and how many words the header has, 5 or more")
    a.load(B, R1, R10, BYTES)
    a.jump_if(R1, ">", 0x4F, "malformed")
    a.mov(R2, 0x45)
    a.jump_if(R2, ">", R1, "malformed")
    a.comment("the protocol is the tenth byte")
    a.load(B, R9, R10, BYTES + 9)
    for protocol in (TCP, UDP, ICMP):
        a.jump_if(R9, "==", protocol, "known")
    a.jump("other")


def _read_ipv6(a: Assembler) -> None:
    a.label("ipv6")
    _read_packet(a, R8, 40)
    a.load(B, R1, R10, BYTES)
    a.alu(R1, ">>=", 4)
    a.jump_if(R1, "!=", 6, "malformed")
    a.comment("the seventh byte says what follows: a protocol, or an extension header that says it in turn")
    a.load(B, R9, R10, BYTES + 6)
    a.add(R8, 40)
    for i in range(8):  # more of them are nothing that we know
        a.comment(f"extension header {i + 1}?")
        for kind in EXTENSIONS:
            a.jump_if(R9, "==", kind, f"extension_{i}")
        a.jump("transport")
        a.label(f"extension_{i}")
        _read_packet(a, R8, 8)
        a.mov(R1, R9)
        a.load(B, R9, R10, BYTES)  # what comes next
        a.load(B, R2, R10, BYTES + 1)  # how long this one is
        a.jump_if(R1, "==", AUTHENTICATION, f"authentication_{i}")
        a.jump_if(R1, "!=", FRAGMENT, f"length_{i}")
        a.comment("a later fragment goes on with data: what R9 names is only in the first")
        a.load(H, R2, R10, BYTES + 2)
        a.from_big_endian(R2, 16)
        a.alu(R2, "&=", 0xFFF8)
        a.jump_if(R2, "!=", 0, "transport")
        a.comment("the first one: R2 is 0 now, and a fragment header is 8 bytes long")
        a.label(f"length_{i}")
        a.comment("8 * (length + 1) bytes")
        a.add(R2, 1)
        a.alu(R2, "<<=", 3)
        a.jump(f"next_{i}")
        a.label(f"authentication_{i}")
        a.comment("the authentication header counts otherwise: 4 * (length + 2) bytes")
        a.add(R2, 2)
        a.alu(R2, "<<=", 2)
        a.label(f"next_{i}")
        a.add(R8, R2)
    a.label("transport")
    for protocol in (TCP, UDP, ICMPV6):
        a.jump_if(R9, "==", protocol, "known")


def _count(a: Assembler, maps: dict[str, Map]) -> None:
    a.label("count")
    a.store(W, R10, ROW + 4, R7)
    _look_up(a, maps["rows"], ROW)
    a.jump_if(R0, "!=", 0, "add")
    a.comment("the first of its kind: make a row of zeros, unless another CPU just did")
    a.store(DW, R10, ZERO, 0)
    a.store(DW, R10, ZERO + 8, 0)
    a.load_map(R1, maps["rows"].fd, "rows")
    _load_address(a, R2, ROW)
    _load_address(a, R3, ZERO)
    a.mov(R4, 1)  # BPF_NOEXIST
    a.call(HelperId.map_update_elem)
    _look_up(a, maps["rows"], ROW)
    a.jump_if(R0, "==", 0, "lost")
    a.label("add")
    a.comment("packets += 1, bytes += skb->len; no atomics: no other CPU touches this copy")
    a.load(DW, R1, R0, 0)
    a.add(R1, 1)
    a.store(DW, R0, 0, R1)
    a.load(DW, R1, R0, 8)
    a.load(W, R2, R6, SKB_LEN)
    a.add(R1, R2)
    a.store(DW, R0, 8, R1)
    a.jump("out")
    a.label("lost")
    a.comment("the map is full: pt_losses[LOST_ROWS] += 1")
    a.store(W, R10, SLOT, LOST_ROWS)
    _look_up(a, maps["pt_losses"], SLOT)
    a.jump_if(R0, "==", 0, "out")
    a.load(DW, R1, R0, 0)
    a.add(R1, 1)
    a.store(DW, R0, 0, R1)


def _look_up(a: Assembler, table: Map, key: int) -> None:
    """``r0 = &table[key]``, or 0. The key is on the stack."""
    a.load_map(R1, table.fd, table.name)
    _load_address(a, R2, key)
    a.call(HelperId.map_lookup_elem)


def _read_packet(a: Assembler, offset: Register | int, size: int) -> None:
    """Copy ``size`` bytes of the packet to BYTES; a packet that ends before is malformed."""
    a.mov(R1, R6)
    a.mov(R2, offset)
    _load_address(a, R3, BYTES)
    a.mov(R4, size)
    a.call(HelperId.skb_load_bytes)
    a.jump_if(R0, "!=", 0, "malformed")


def _load_address(a: Assembler, register: Register, offset: int) -> None:
    """``register`` = the address of a place on the stack."""
    a.mov(register, R10)
    a.add(register, offset)


# Step 3: load them
# -----------------
# The verifier walks every path through the program before it may run even once: does each end, is every
# register set before it is read, is every pointer checked and within bounds? It can tell what it saw,
# register by register. We ask for that only when it refused: to write it takes longer than to load.


class Lesson:
    """The program and its maps, with the interface that compiled ones have (bpf/load/module.py)."""

    def __init__(self, config: Sequence[int] = (IN,), rows: int = 5120) -> None:
        """Do steps 1 and 2. ``config`` holds the run-time values by slot (the direction)."""
        self.maps: dict[str, Map] = {}
        self.program = Assembler()
        self._loaded: list[int] = []
        try:
            create_maps(self.maps, config, rows)
        except OSError as error:
            self.close()
            raise explain(error, "creating the maps of sockcount", capabilities=["CAP_BPF"]) from error
        write(self.program, self.maps)

    def readers(self, name: str) -> Collection[str]:
        """Return the names of the programs that refer to a map: the only one refers to all."""
        return ("count",) if name in self.maps else ()

    def load(
        self,
        program: str,
        kind: ProgType,
        attach_type: int = 0,
        *,
        prologue: bytes = b"",
        on_log: Callable[[str], None] | None = None,
        **_other: Any,
    ) -> int:
        """Load the program ``count`` and return its descriptor, which the lesson owns. Raises
        VerifierError."""
        if program != "count" or kind is not ProgType.SOCKET_FILTER or attach_type:
            raise BuildError(f"the lesson has no program {program!r} of type {kind.name.lower()}")
        # The user's packet filter (bpf/asm/packet_filter.py) comes first and drops what does not match.
        code = prologue + self.program.assemble()

        def load_it(log: bytearray | None = None, level: int = 1) -> int:
            return prog_load(kind, code, log=log, level=level, name=program)

        self._loaded.append(load_code(f"sockcount:{program}", load_it, keep_logs=True, on_log=on_log))
        return self._loaded[-1]

    def close(self) -> None:
        """Close all descriptors; the kernel frees everything that no descriptor and no socket holds."""
        for fd in self._loaded + [table.fd for table in self.maps.values()]:
            os.close(fd)
        self._loaded.clear()
        self.maps.clear()


# Step 4: attach and read
# -----------------------
# pytracer does this for every program alike (bpf/attach, bpf/read, trace/link_set.py). Here it is by hand: a
# raw packet socket gets our program as its filter (SO_ATTACH_BPF), and is then bound to the interface.


def main(arguments: Sequence[str]) -> None:
    """Count the packets that an interface receives in five seconds, or print the program."""
    with contextlib.closing(Lesson()) as lesson:
        if not arguments:
            print(lesson.program.listing())
            return
        program = lesson.load("count", ProgType.SOCKET_FILTER)
        with socket.socket(
            fileno=socket_filter.attach_to_socket(socket.if_nametoindex(arguments[0]), program)
        ):
            for _ in range(5):
                time.sleep(1)
                for key, per_cpu in zip(*lesson.maps["rows"].read(), strict=True):
                    counts = per_cpu["packets"].sum(), per_cpu["bytes"].sum()
                    print(f"protocol {key['protocol']:#7x}: {counts[0]} packets, {counts[1]} bytes")
                print()


if __name__ == "__main__":
    main(sys.argv[1:])
