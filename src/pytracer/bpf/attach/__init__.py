"""Attachers: one module for each kind of probe (see :mod:`pytracer.bpf.attach.kind`), imported on first
use."""

from __future__ import annotations

import importlib
from typing import cast

from pytracer.bpf.attach.kind import Attacher
from pytracer.spec import Probe

_SHARED = {
    "kretprobe": "kprobe",
    "kretprobe_multi": "kprobe_multi",
    "uretprobe": "uprobe",
    "uretprobe_multi": "uprobe_multi",
    "fexit": "fentry",
    "modify_return": "fentry",
    "typed_tracepoint": "fentry",
    "cgroup_skb_attach": "cgroup_skb",
    "cgroup_sock_attach": "cgroup_sock",
    "cgroup_sock_addr_attach": "cgroup_sock_addr",
}


def attacher_of(probe: Probe) -> Attacher:
    """Import and return the module that attaches this kind of probe."""
    name = _SHARED.get(probe.kind, probe.kind)
    return cast(Attacher, importlib.import_module(f"pytracer.bpf.attach.{name}"))
