"""The types of maps (``enum bpf_map_type``)."""

from __future__ import annotations

from pytracer.features.table.feature import Feature
from pytracer.record import record

PAGE = -1
"""As a number of entries: one page of bytes."""
_NO_PREALLOC, _MMAPABLE = 1, 1 << 10  # BPF_F_*


@record
class MapTypeFeature(Feature):
    """The sizes, the number of entries and the flags with which a map of the type can be created."""

    key_size: int = 4
    value_size: int = 4
    entries: int = 1
    flags: int = 0


def _make_map_type(
    number: int,
    name: str,
    since: str,
    commit: str,
    *options: str,
    sizes: tuple[int, int, int] = (4, 4, 1),
    flags: int = 0,
) -> MapTypeFeature:
    return MapTypeFeature(
        "map",
        name,
        since,
        commit,
        options,
        number,
        key_size=sizes[0],
        value_size=sizes[1],
        entries=sizes[2],
        flags=flags,
    )


RINGBUF = _make_map_type(27, "ringbuf", "5.8", "457f44363a88", sizes=(0, 0, PAGE))
TASK_STORAGE = _make_map_type(29, "task_storage", "5.11", "4cf1bc1f1045", sizes=(4, 4, 0), flags=_NO_PREALLOC)
BLOOM_FILTER = _make_map_type(30, "bloom_filter", "5.16", "9330986c0300", sizes=(0, 4, 1))

MAP_TYPES = (
    _make_map_type(1, "hash", "3.19", "0f8e4bd8a1fc"),
    _make_map_type(2, "array", "3.19", "28fbcfa08d8e"),
    _make_map_type(3, "prog_array", "4.2", "04fd61ab36ec"),
    _make_map_type(4, "perf_event_array", "4.3", "ea317b267e9d"),
    _make_map_type(5, "percpu_hash", "4.6", "824bd0ce6c7c"),
    _make_map_type(6, "percpu_array", "4.6", "a10423b87a7e"),
    _make_map_type(7, "stack_trace", "4.6", "d5a3b1f69186", "PERF_EVENTS", sizes=(4, 8, 1)),
    _make_map_type(8, "cgroup_array", "4.8", "4ed8ec521ed5"),
    _make_map_type(9, "lru_hash", "4.10", "29ba732acbee"),
    _make_map_type(10, "lru_percpu_hash", "4.10", "8f8449384ec3"),
    _make_map_type(11, "lpm_trie", "4.11", "b95a5c4db09b", sizes=(8, 8, 1), flags=_NO_PREALLOC),
    _make_map_type(12, "array_of_maps", "4.12", "56f668dfe00d"),
    _make_map_type(13, "hash_of_maps", "4.12", "bcc6b1b7ebf8"),
    _make_map_type(14, "devmap", "4.14", "546ac1ffb70d"),
    _make_map_type(15, "sockmap", "4.14", "174a79ff9515"),
    _make_map_type(16, "cpumap", "4.15", "6710e1126934"),
    _make_map_type(17, "xskmap", "4.18", "fbfc504a24f5", "XDP_SOCKETS"),
    _make_map_type(18, "sockhash", "4.18", "81110384441a"),
    _make_map_type(19, "cgroup_storage", "4.19", "de9cbbaadba5", sizes=(16, 8, 0)),
    _make_map_type(20, "reuseport_sockarray", "4.19", "5dc4c4b7d4e8"),
    _make_map_type(21, "percpu_cgroup_storage", "4.20", "b741f1630346", sizes=(16, 8, 0)),
    _make_map_type(22, "queue", "4.20", "f1a2e44a3aec", sizes=(0, 4, 1)),
    _make_map_type(23, "stack", "4.20", "f1a2e44a3aec", sizes=(0, 4, 1)),
    _make_map_type(24, "sk_storage", "5.2", "6ac99e8f23d4", sizes=(4, 4, 0), flags=_NO_PREALLOC),
    _make_map_type(25, "devmap_hash", "5.4", "6f9d451ab1a3"),
    _make_map_type(26, "struct_ops", "5.6", "85d33df357b6"),
    RINGBUF,
    _make_map_type(28, "inode_storage", "5.10", "8ea636848aca", sizes=(4, 4, 0), flags=_NO_PREALLOC),
    TASK_STORAGE,
    BLOOM_FILTER,
    _make_map_type(31, "user_ringbuf", "6.1", "583c1f420173", sizes=(0, 0, PAGE)),
    _make_map_type(32, "cgrp_storage", "6.2", "c4bcfb38a95e", sizes=(4, 4, 0), flags=_NO_PREALLOC),
    _make_map_type(33, "arena", "6.9", "317460317a02", sizes=(0, 0, 1), flags=_MMAPABLE),
)

BY_NUMBER = {map_type.number: map_type for map_type in MAP_TYPES}
"""The types by their numbers."""

MAP_NAMES = {one.number: one.name for one in MAP_TYPES}
"""The names of the numbers of ``enum bpf_map_type``."""
