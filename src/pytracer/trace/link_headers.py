"""Tell a network program which interfaces have no Ethernet header (probes_c/include/link_layer.h)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping

from pytracer.bpf.read.maps import Map
from pytracer.kernel import interfaces


def fill_link_headers(maps: Mapping[str, Map], wanted: Collection[int]) -> None:
    """Fill the program's maps, if it has them; ``wanted`` are interface indices, 0 for all. Interfaces may
    appear while it runs."""
    if "links" not in maps:
        return
    others = {
        index: length
        for index, one in interfaces.interfaces().items()
        if (length := interfaces.link_header_length(one.type)) != interfaces.ETHERNET_HEADER
    }
    for index, length in others.items():
        maps["links"].update(struct.pack("I", index), struct.pack("I", length))
    if "pt_links" in maps and (0 in wanted or others.keys() & wanted):
        maps["pt_links"].update(struct.pack("I", 0), struct.pack("I", len(others)))
