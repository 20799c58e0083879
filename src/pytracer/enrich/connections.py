"""Decode events of connections, by the codes of probes_c/tcptracer.c, and TCP states."""

from __future__ import annotations

from pytracer.enrich.errno import errno_name

_EVENTS = ("connect", "accept", "close", "fail")  # enum type
# include/net/tcp_states.h; the numbers are part of the user-space interface (TCP_INFO).
_STATES = (
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)

_RETRANSMISSIONS = ("timeout", "fast", "probe", "SYN", "SYNACK")  # enum why of probes_c/tcpretrans.c


def retransmission(code: int) -> str:
    """Decode the kind of a retransmission: ``0`` -> ``timeout``; ``retransmission_N`` if unknown."""
    return _RETRANSMISSIONS[code] if code < len(_RETRANSMISSIONS) else f"retransmission_{code}"


def tcp_state(number: int) -> str:
    """Decode a TCP state: ``1`` -> ``ESTABLISHED``; ``state_N`` if it has no name."""
    return (_STATES[number] if 0 <= number < len(_STATES) else "") or f"state_{number}"


def connection_event(code: int) -> str:
    """Decode an event of a connection: ``0`` -> ``connect``; ``event_N`` if unknown."""
    return _EVENTS[code] if code < len(_EVENTS) else f"event_{code}"


def connection_error(number: int) -> str:
    """Decode the error of a connection: ``111`` -> ``ECONNREFUSED``; nothing for 0."""
    return errno_name(number) if number else ""
