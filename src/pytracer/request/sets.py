"""Encode sets of names (``a,b`` keeps, ``!a,b`` excludes) as keys of a tracer's map.

One image serves every set. Networks and paths are in LPM tries. Addresses of both versions are in one
trie, with IPv4 mapped into IPv6. The trie has the first 252 bytes of a path; a whole path is the prefix
that ends with its NUL. The C does not copy the key: the path is in the event as it is built, behind the
number of bits that count.
"""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Sequence

from pytracer.errors import UsageError
from pytracer.kernel import syscalls
from pytracer.request.request import NameSetValue
from pytracer.spec import NameSet

PATH_BYTES = 252  # of a path that are compared: what probes_c/include/paths.h has for a key
_V4_IN_V6 = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2


def parse_set(option: NameSet, text: str, option_name: str) -> NameSetValue:
    """Parse ``a,b`` or ``!a,b``. Raises UsageError, see :func:`encode_names`."""
    names = [name.strip() for name in text.removeprefix("!").split(",")]
    return encode_names(option, names, option_name, exclude=text.startswith("!"))


def encode_names(option: NameSet, names: Sequence[str], option_name: str, *, exclude: bool) -> NameSetValue:
    """Encode names as keys of the option's map; ``option_name`` is how the user writes the option.

    Raises UsageError for a name that the option does not take.
    """
    if option.encode == "syscalls":
        return NameSetValue(tuple(map(_pack_u64, syscalls.calls_named(names))), exclude)
    if option.names:
        return NameSetValue(
            tuple(_pack_u64(index) for index in _find_indexes(option, names, option_name)), exclude
        )
    encode = {"networks": _encode_network, "paths": _encode_path}[option.encode]
    return NameSetValue(tuple(dict.fromkeys(encode(option_name, name) for name in names)), exclude)


def _pack_u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _find_indexes(option: NameSet, names: Sequence[str], option_name: str) -> list[int]:
    """Return the index of each name among those that the option takes."""
    for name in names:
        if name not in option.names:
            hint = f"there are: {', '.join(option.names)}"
            raise UsageError(f"{option_name}: {name!r} is none of them", hint=hint)
    return [option.names.index(name) for name in names]


def _encode_network(option: str, text: str) -> bytes:
    """Encode the version and the first bits of addresses, IPv4 ones as IPv6 writes them: ``struct
    pt_network`` of probes_c/include/tcp.h."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        suggestion = ""
        if "host bits set" in str(error):
            suggestion = f"its first address is {ipaddress.ip_network(text, strict=False)}"
        raise UsageError(
            f"{option} {text!r} is no network",
            hint=suggestion or "as in 10.0.0.0/8, 192.0.2.1 or 2001:db8::/32",
        ) from None
    packed, bits = network.network_address.packed, network.prefixlen
    if network.version == 4:
        packed, bits = _V4_IN_V6 + packed, 96 + bits
    return struct.pack("=II16s", 32 + bits, network.version, packed)


def _encode_path(option: str, text: str) -> bytes:
    """Encode the first bytes of paths: ``struct pt_path`` of probes_c/include/paths.h.

    A whole path is encoded as a prefix that includes its NUL.
    """
    name, star, suffix = text.partition("*")
    path = os.fsencode(name) + (b"" if star else b"\0")
    if suffix:
        raise UsageError(f"{option} {text!r}: a * stands at the end", hint="as in /etc/*, or /etc/passwd")
    if not name and not star:
        raise UsageError(f"{option} needs a path", hint="as in /etc/*, or /etc/passwd")
    if len(path) > PATH_BYTES:
        raise UsageError(
            f"{option}: only the first {PATH_BYTES} bytes of a path are compared", hint=f"{text[:64]}*"
        )
    return struct.pack(f"=I{PATH_BYTES}s", 8 * len(path), path)
