"""rtnetlink: the kernel's messages about interfaces, queueing disciplines and filters.

The messages are written and read by pyroute2. Of it, only the codecs of messages are imported: all of
pyroute2 takes 115 ms (and asyncio, and multiprocessing), the codec of interface messages 25 ms.
"""

from __future__ import annotations

import functools
import importlib
import os
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

REQUEST, ACK, DUMP, EXCL, CREATE = 0x001, 0x004, 0x300, 0x200, 0x400  # NLM_F_*
_DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


def dump(codec: str, kind: int, fill: Callable[[Any], None]) -> list[Any]:
    """Return the messages of a dump, decoded, with ``["header"]["type"]``; ``kind`` is RTM_GET*.

    ``codec`` names a message of pyroute2 (``ifinfmsg``, ``tcmsg``), ``fill`` completes the request. Raises
    OSError.
    """
    request = _encode_message(codec, kind, REQUEST | DUMP, fill)
    while True:
        messages, is_complete = [], True
        for flags, message in _send_request(request):
            is_complete = is_complete and not flags & _DUMP_INTERRUPTED
            decoded = _load_codec(codec)(message)
            decoded.decode()
            messages.append(decoded)
        if is_complete:  # else one came or went meanwhile: the kernel says so, and that one may be missing
            return messages


def send_request(codec: str, kind: int, flags: int, fill: Callable[[Any], None]) -> None:
    """Send the kernel a request that changes something (RTM_NEW*, RTM_SET*, RTM_DEL*). Raises OSError."""
    for _ in _send_request(_encode_message(codec, kind, REQUEST | ACK | flags, fill)):
        pass


def find_attribute(parent: Any, number: int) -> bytes:
    """Return a nested attribute that the codec does not know, by its number; b"" if there is none."""
    data = bytes(parent.data[parent.offset : parent.offset + parent.length])
    offset = _ATTRIBUTE.size
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if kind == number:
            return data[offset + _ATTRIBUTE.size : offset + length]
        offset += max((length + 3) & ~3, _ATTRIBUTE.size)
    return b""


def _encode_message(codec: str, kind: int, flags: int, fill: Callable[[Any], None]) -> bytes:
    message = _load_codec(codec)()
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    fill(message)
    message.encode()
    return bytes(message.data)


def _send_request(request: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of the answer as (flags, whole message). Raises OSError."""
    import socket  # as long to load as all that asks for interfaces

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(request)
        while True:
            size = netlink.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
            data = netlink.recv(size)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, flags, _, _ = _HEADER.unpack_from(data, offset)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    (error,) = struct.unpack_from("=i", data, offset + _HEADER.size)
                    if error == 0:  # success
                        return
                    raise OSError(-error, os.strerror(-error))
                yield flags, data[offset : offset + length]
                offset += max((length + 3) & ~3, _HEADER.size)


@functools.cache
def _load_codec(name: str) -> Any:
    """Import pyroute2's class for a kind of message.

    Importing a part of a package runs the package's own ``__init__`` first, which imports everything. An
    empty package with the same name and path replaces it meanwhile, and is removed again with all that it
    imported.
    """
    import importlib.machinery
    import importlib.util

    spec = None if "pyroute2" in sys.modules else importlib.util.find_spec("pyroute2")
    if spec is None:
        return _import_codec(name)
    bare = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("pyroute2", None, is_package=True))
    bare.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["pyroute2"] = bare
    try:
        return _import_codec(name)
    except ImportError:
        _unload_modules()  # laid out in another way than any release so far: import it in full
        return _import_codec(name)
    finally:
        if sys.modules.get("pyroute2") is bare:
            _unload_modules()


def _import_codec(name: str) -> Any:
    return getattr(importlib.import_module(f"pyroute2.netlink.rtnl.{name}"), name)


def _unload_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
        del sys.modules[name]
