"""Test scripts that write packets to capture files, on packets of the test's own network namespace."""

from __future__ import annotations

import struct
import sys

import pytest

from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

SENDER = """
import ctypes, socket, subprocess
ctypes.CDLL(None).prctl(15, b"pt-packets", 0, 0, 0)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.socket(type=socket.SOCK_DGRAM) as inbox, socket.socket(type=socket.SOCK_DGRAM) as outbox:
    inbox.bind(("127.0.0.1", 4567))
    for number in range(3):
        outbox.sendto(b"packet %d" % number, ("127.0.0.1", 4567))
"""


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "sender.py"
    path.write_text(SENDER)
    return f"unshare --net {sys.executable} -SI {path}"


def packets(path):
    """Return the packets of a file: their data, and the bytes that each had."""
    data = path.read_bytes()
    assert struct.unpack_from("=IHH", data) == (0xA1B23C4D, 2, 4)
    assert struct.unpack_from("=I", data, 20) == (101,)
    found, at = [], 24
    while at < len(data):
        length, size = struct.unpack_from("=II", data, at + 8)
        found.append((data[at + 16 : at + 16 + length], size))
        at += 16 + length
    return found


def test_skboutput_writes_each_packet_from_an_offset_on(command, tmp_path):
    whole, cut = tmp_path / "whole.pcap", tmp_path / "cut.pcap"
    text = (
        'rawtracepoint:net_dev_queue /comm == "pt-packets"/ { '
        f'@[skboutput("{whole}", args.skb, args.skb.len, 14)] = count(); '
        f'skboutput("{cut}", (struct sk_buff *)arg0, 4, 0); }}'
    )
    result = run("script", "-q", "-e", text, "-c", command)
    assert (result.status, result.out) == (0, "\n@[0]: 3\n"), result.err
    found = packets(whole)
    assert [data[28:] for data, _ in found] == [b"packet 0", b"packet 1", b"packet 2"]
    assert {(data[:1], size) for data, size in found} == {(b"\x45", 36)}
    assert [(len(data), size) for data, size in packets(cut)] == [(4, 50)] * 3


def test_what_is_no_packet_and_what_is_no_name_are_errors():
    for call in ('skboutput("x", 1, 2, 3)', "skboutput(1, args.skb, 2, 3)"):
        result = run("script", "-e", f"rawtracepoint:net_dev_queue {{ {call}; }}")
        assert (result.status, "skboutput() takes" in result.err) == (2, True), result.err
