"""Write packets to capture files (pcap), which Wireshark and tcpdump read."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC, _VERSION = 0xA1B23C4D, (2, 4)  # with times in nanoseconds
_SIZE_MAX = 1 << 18  # bytes of a packet, as readers expect at most
_LINKTYPE_RAW = 101  # a packet begins with its IP header


class PacketFiles:
    """Capture files by their paths. Each is made anew when the first packet is written to it."""

    def __init__(self) -> None:
        self._files = dict[str, BinaryIO]()
        self._open = contextlib.ExitStack()

    def write(self, path: str, nanoseconds: int, data: bytes, size: int) -> None:
        """Append a packet of ``size`` bytes, of which ``data`` are the first. Raises OSError."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = Path(path).open("wb")  # noqa: SIM115 - it stays open
            self._open.enter_context(file)
            file.write(struct.pack("=IHHiIII", _MAGIC, *_VERSION, 0, 0, _SIZE_MAX, _LINKTYPE_RAW))
        seconds, remainder = divmod(nanoseconds, 10**9)
        file.write(struct.pack("=IIII", seconds & 0xFFFFFFFF, remainder, len(data), max(size, len(data))))
        file.write(data)
        file.flush()

    def close(self) -> None:
        """Close all files."""
        self._open.close()
