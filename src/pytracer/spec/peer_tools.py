"""Map names of tools of BCC, bpftrace and others to equivalent command lines.

Tools whose name is the same here are not listed. Suffixes of their packages are no part of the name:
``execsnoop-bpfcc`` and ``execsnoop.bt`` are execsnoop.
"""

from __future__ import annotations

_SUFFIXES = ("-bpfcc", ".bt", ".py")

_FILE_SYSTEMS = ("btrfs", "ext4", "f2fs", "nfs", "xfs", "zfs")

PEER_TOOLS: dict[str, str] = {
    **{f"{name}dist": "fsdist" for name in _FILE_SYSTEMS},
    **{f"{name}slower": "fsslower" for name in (*_FILE_SYSTEMS, "file")},
    "bpflist": "prog list",
    "futexctn": "futexstat --stacks",
    "iotop": "biotop",
    "killsnoop": "sigsnoop",
    "lsof": "openfiles",
    "pidpersec": "forksnoop --processes",
    "setuids": "setids",
    "solisten": "bindsnoop",
    "sslsnoop": "sslsniff",
    "strace": "syscalls",
    "syscount": "syscalls",
    "tcpaccept": "tcptracer -e accept",
    "tcpconnect": "tcptracer -e connect,fail",
    "tcpdrop": "dropsnoop",
    "tcpdump": "packetsnoop lo",
    "threadsnoop": "forksnoop --threads",
    "tplist": "list-probes",
    "vfscount": "funccount 'k:vfs_*'",
}
"""The words after ``pytracer`` that do the same, by the tool's name."""


def find_equivalent(name: str, tracer_names: list[str]) -> str:
    """Return the words after ``pytracer`` that do what the tool ``name`` does, of the tracers
    ``tracer_names``; "" if nothing does."""
    bare = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)
    return bare if bare in tracer_names and bare != name else PEER_TOOLS.get(bare, "")
