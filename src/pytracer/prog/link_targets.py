"""Look up the names of link targets: functions, events, cgroups, interfaces. Lookups are lazy."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct

from pytracer import arrays
from pytracer.bpf.sys import Command, address, bpf, object_info
from pytracer.errors import PytracerError
from pytracer.kernel import tracefs
from pytracer.kernel.btf import Btf
from pytracer.kernel.filter_values import cgroups
from pytracer.symbols.kernel import KernelSymbols

ATTACH_TYPES = (  # enum bpf_attach_type
    "ingress", "egress", "sock_create", "sock_ops", "stream_parser", "stream_verdict", "device",
    "msg_verdict", "bind4", "bind6", "connect4", "connect6", "post_bind4", "post_bind6", "sendmsg4",
    "sendmsg6", "lirc", "flow_dissector", "sysctl", "recvmsg4", "recvmsg6", "getsockopt", "setsockopt",
    "rt", "f", "fr", "fmod", "lsm", "iter", "getpeername4", "getpeername6", "getsockname4", "getsockname6",
    "xdp_devmap", "sock_release", "xdp_cpumap", "sk_lookup", "xdp", "skb_verdict", "reuseport",
    "reuseport_migrate", "perf", "k", "lsm", "struct_ops", "netfilter", "ingress", "egress", "u",
    "connect_unix", "sendmsg_unix", "recvmsg_unix", "getpeername_unix", "getsockname_unix", "primary",
    "peer", "k", "u",
)  # fmt: skip
# struct bpf_btf_info: data, size, id, name, its length, whether it is the kernel's.
_BTF_INFO = struct.Struct("=QIIQII")
_NAME = 64


def attach_type(number: int) -> str:
    """Return the name of an attach type in places."""
    return ATTACH_TYPES[number] if number < len(ATTACH_TYPES) else f"#{number}"


class TargetNames:
    """Names of functions, events and cgroups on this machine now."""

    def __init__(self) -> None:
        """Create the namer; targets are looked up on demand."""
        self._symbols = KernelSymbols()
        self._modules: dict[int, str] = {}  # by the id of a BTF: whose it is, "" where it is not the kernel's

    def function_at(self, address: int) -> str:
        """Return the name of the kernel function at an address."""
        arrays.load()
        return self._symbols.names(arrays.np.array([address], arrays.np.uint64))[0]

    def function(self, btf: int, number: int) -> str:
        """Return the name of a function (or type) by its number in a kernel BTF; a module's as
        MODULE#NUMBER."""
        if btf not in self._modules:
            self._modules[btf] = _name_kernel_btf(btf)
        module = self._modules[btf]
        if module != "vmlinux":
            return f"{module}#{number}" if module else ""
        with contextlib.suppress(PytracerError):
            return self._vmlinux.name(number) if self._vmlinux else ""
        return ""

    def event(self, name: str) -> str:
        """Return a trace event as users name it; the kernel reports it without its category."""
        category = self._categories.get(name)
        return f"{category}:{name}" if category else f"*:{name}"

    def cgroup(self, number: int) -> str:
        """Return the path of a cgroup by its id."""
        return self._cgroups.get(number) or f"#{number}"

    @functools.cached_property
    def _vmlinux(self) -> Btf | None:
        with contextlib.suppress(PytracerError):
            return Btf.load()
        return None

    @functools.cached_property
    def _categories(self) -> dict[str, str]:
        """The category of each event; if several have an event of that name, the first."""
        with contextlib.suppress(PytracerError):
            pairs = [line.partition(":") for line in tracefs.events()]
            return {event: category for category, _, event in reversed(pairs)}
        return {}

    @functools.cached_property
    def _cgroups(self) -> dict[int, str]:
        return {number: path for path, number, _ in cgroups()}


def interface(index: int) -> str:
    """Return the name of an interface of this network namespace."""
    with contextlib.suppress(OSError):
        return socket.if_indextoname(index)
    return f"#{index}"


def _name_kernel_btf(number: int) -> str:
    """Return the name of a kernel BTF by its id: vmlinux or a module; "" if it is not the kernel's."""
    name = bytearray(_NAME)
    with contextlib.suppress(OSError):
        descriptor = bpf(Command.BTF_GET_FD_BY_ID, struct.pack("I", number))
        try:
            info = bytearray(_BTF_INFO.pack(0, 0, 0, address(name), len(name), 0))
            object_info(descriptor, info)
        finally:
            os.close(descriptor)
        return bytes(name).partition(b"\0")[0].decode(errors="replace") if _BTF_INFO.unpack(info)[5] else ""
    return ""
