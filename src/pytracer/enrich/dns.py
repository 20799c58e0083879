"""Decode DNS: the question as it is on the wire (RFC 1035), and response codes."""

from __future__ import annotations

from pytracer.text import from_bytes

_TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    39: "DNAME",
    43: "DS",
    46: "RRSIG",
    47: "NSEC",
    48: "DNSKEY",
    50: "NSEC3",
    52: "TLSA",
    64: "SVCB",
    65: "HTTPS",
    252: "AXFR",
    255: "ANY",
    257: "CAA",
}
_CODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "DSOTYPENI",
)  # fmt: skip
_LABELS = 128


def _name(question: bytes) -> tuple[list[bytes], int]:
    """Split a question (without its trailing NULs) into the labels of its name, and where its type begins."""
    labels = list[bytes]()
    offset = 0
    while len(labels) < _LABELS and (size := question[offset] if offset < len(question) else 0):
        labels.append(question[offset + 1 : offset + 1 + size])
        offset += 1 + size
    return labels, offset + 1


def dns_name(question: bytes) -> str:
    """Decode the name of a question: ``example.org``, ``.`` for the root. A dot within a label is
    ``\\x2e``."""
    labels, _ = _name(question)
    return ".".join(from_bytes(label).replace(".", "\\x2e") for label in labels) or "."


def dns_type(question: bytes) -> str:
    """Decode the type of a question: ``AAAA``; ``TYPE_N`` if it has no name."""
    _, offset = _name(question)
    number = int.from_bytes(question[offset : offset + 2].ljust(2, b"\0"), "big")
    return _TYPES.get(number) or f"TYPE_{number}"


def dns_code(number: int) -> str:
    """Decode a response code: ``3`` -> ``NXDOMAIN``; ``RCODE_N`` if it has no name."""
    return _CODES[number] if number < len(_CODES) else f"RCODE_{number}"


def dns_message(is_answer: int) -> str:
    """Decode the kind of a message."""
    return "answer" if is_answer else "query"
