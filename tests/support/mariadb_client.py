"""Speak the protocol of MariaDB with a server: its own client has no prepared statements."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

PROTOCOL_41, SECURE, PLUGIN_AUTH = 0x200, 0x8000, 0x80000
QUERY, PREPARE, EXECUTE, CLOSE = 3, 22, 23, 25
EOF, ERROR = 0xFE, 0xFF


class Client:
    """A connection as root, to a server that asks for no password."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._read()
        flags = PROTOCOL_41 | SECURE | PLUGIN_AUTH
        self._write(
            struct.pack("<IIB23x", flags, 1 << 24, 45) + b"root\0\0" + b"mysql_native_password\0", sequence=1
        )
        assert self._read()[0] == 0, "the server lets nobody in"

    def query(self, text: bytes) -> bool:
        """Run a query; return whether it succeeds. Rows are read and dropped."""
        self._write(bytes([QUERY]) + text)
        return self._answered()

    def prepare(self, text: bytes) -> int:
        """Prepare a statement without parameters; return its number, 0 if that fails."""
        self._write(bytes([PREPARE]) + text)
        answer = self._read()
        if answer[0] == ERROR:
            return 0
        number, columns = struct.unpack_from("<IH", answer, 1)
        for _ in range(columns + bool(columns)):
            self._read()
        return int(number)

    def execute(self, number: int) -> bool:
        """Execute a prepared statement; return whether it succeeds."""
        self._write(struct.pack("<BIBI", EXECUTE, number, 0, 1))
        return self._answered()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _answered(self) -> bool:
        answer = self._read()
        if answer[0] in (0, ERROR):
            return answer[0] == 0
        for _ in range(2):  # the columns, then the rows, each up to an end
            while self._read()[0] != EOF:
                pass
        return True

    def _write(self, payload: bytes, sequence: int = 0) -> None:
        self._socket.sendall(struct.pack("<I", len(payload) | sequence << 24) + payload)

    def _read(self) -> bytes:
        length = int.from_bytes(self._receive(4)[:3], "little")
        return self._receive(length)

    def _receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            assert part, "the server hung up"
            data += part
        return data
