"""Test network interfaces by name: of this machine, and of simulated ones."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel import interfaces, rtnetlink
from pytracer.kernel.interfaces import Interface, link_header_length, resolve

EXAMPLES = (
    Interface("lo", 1, 772),
    Interface("eth0", 2, 1, ("enp0s3", "uplink-to-the-outside")),
    Interface("tun0", 7, 65534),
)


@pytest.fixture
def fake_interfaces(monkeypatch):
    monkeypatch.setattr(interfaces, "list_interfaces", lambda: {i.index: i for i in EXAMPLES})


def test_interfaces_of_this_machine():
    actual = interfaces.list_interfaces()
    assert {index: interface.name for index, interface in actual.items()} == dict(socket.if_nameindex())
    for interface in actual.values():
        assert interface.type == int(Path(f"/sys/class/net/{interface.name}/type").read_text())


def test_names_to_indexes(fake_interfaces):
    assert resolve(["lo"]) == {1: "lo"}
    assert list(resolve(["tun0", "lo"]).items()) == [(7, "tun0"), (1, "lo")]
    assert resolve([]) == {}


def test_a_name_given_twice_is_one_interface(fake_interfaces):
    assert resolve(["lo", "lo"]) == {1: "lo"}
    assert resolve(["enp0s3", "eth0"]) == {2: "enp0s3"}


def test_an_alternative_name_stays_as_it_was_given(fake_interfaces):
    assert resolve(["uplink-to-the-outside"]) == {2: "uplink-to-the-outside"}


def test_any_is_all_of_them_and_stands_alone(fake_interfaces):
    assert resolve(["any"]) == {0: "any"}
    assert resolve(["lo", "any", "eth0"]) == {0: "any"}
    with pytest.raises(UnknownNameError):
        resolve(["any", "eth7"])


def test_any_may_be_refused(fake_interfaces):
    with pytest.raises(UsageError, match="'any' will not do") as excinfo:
        resolve(["any"], allow_any=False)
    assert excinfo.value.hint == "there is lo, eth0, tun0"


def test_an_unknown_name_lists_those_there_are(fake_interfaces):
    with pytest.raises(UnknownNameError) as excinfo:
        resolve(["lo", "eth7"])
    assert excinfo.value.message == "no network interface 'eth7'"
    assert excinfo.value.hint == "there is lo, eth0, tun0, any"
    assert excinfo.value.exit_code == 2


def test_a_host_of_many_interfaces_lists_the_first(monkeypatch):
    veths = {i: Interface(f"veth{i}", i, 1) for i in range(1, 1001)}
    monkeypatch.setattr(interfaces, "list_interfaces", lambda: veths)
    with pytest.raises(UnknownNameError) as excinfo:
        resolve(["lo"])
    assert excinfo.value.hint.startswith("there is veth1, veth2, ")
    assert excinfo.value.hint.endswith(
        f"veth{interfaces.HINT_MAX}, any, and {1000 - interfaces.HINT_MAX} more"
    )


@pytest.mark.parametrize(
    ("arphrd", "length"), [(1, 14), (772, 14), (32, 24), (24, 10), (65534, 0), (768, 0), (512, 0), (280, 0)]
)
def test_link_headers(arphrd, length):
    assert link_header_length(arphrd) == length


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def link(index: int, name: str, *alternatives: str) -> bytes:
    """Return an RTM_NEWLINK message: struct ifinfomsg, IFLA_IFNAME, IFLA_PROP_LIST."""
    body = struct.pack("=BBHiII", 0, 0, 1, index, 0, 0) + attribute(3, name.encode() + b"\0")
    if alternatives:
        names = b"".join(attribute(53, other.encode() + b"\0") for other in alternatives)
        body += attribute(52 | 0x8000, names)
    return message(16, body)


class Answers:
    """A netlink socket with given responses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *datagrams: bytes) -> None:
        self.left = list(datagrams)
        self.requests: list[bytes] = []
        monkeypatch.setattr("socket.socket", lambda *_: self)

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def bind(self, _address: tuple[int, int]) -> None:
        pass

    def send(self, data: bytes) -> None:
        self.requests.append(data)

    def recv_into(self, _buffer: bytearray, _size: int, _flags: int) -> int:
        return len(self.left[0])

    def recv(self, size: int) -> bytes:
        return self.left.pop(0)[:size]


DONE = message(3, bytes(4))


def test_responses_of_the_kernel_are_parsed(monkeypatch):
    answers = Answers(monkeypatch, link(1, "lo") + link(2, "eth0", "enp0s3", "wan"), link(9, "tun0"), DONE)
    assert interfaces.list_interfaces() == {
        1: Interface("lo", 1, 1),
        2: Interface("eth0", 2, 1, ("enp0s3", "wan")),
        9: Interface("tun0", 9, 1),
    }
    (request,) = answers.requests
    assert struct.unpack_from("=IHH", request) == (len(request), 18, 0x301)


def test_an_interrupted_dump_is_requested_again(monkeypatch):
    interrupted = bytearray(link(1, "lo"))
    interrupted[6] |= 0x10  # NLM_F_DUMP_INTR
    answers = Answers(monkeypatch, bytes(interrupted), DONE, link(1, "lo") + link(2, "eth0"), DONE)
    assert set(interfaces.list_interfaces()) == {1, 2}
    assert len(answers.requests) == 2


def test_a_refusal_is_an_oserror(monkeypatch):
    Answers(monkeypatch, message(2, struct.pack("=i", -1) + bytes(16)))
    with pytest.raises(PermissionError):
        interfaces.list_interfaces()


@pytest.mark.parametrize("first", ["", "import pyroute2; "])
def test_only_the_codec_is_imported_and_nothing_of_it_stays(first):
    code = (
        f"{first}import sys; before = [n for n in sys.modules if n.startswith('pyroute2')]\n"
        "from pytracer.kernel.interfaces import list_interfaces\n"
        "list_interfaces()\n"
        "assert [n for n in sys.modules if n.startswith('pyroute2')] == before\n"
        "assert before or 'asyncio' not in sys.modules\n"
        "import pyroute2.netlink.rtnl\n"
        "assert pyroute2.IPRoute and pyroute2.netlink.rtnl\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_pyroute2_laid_out_otherwise_is_imported_in_full(monkeypatch):
    real, calls = rtnetlink._import_codec, []

    def first_fails(name):
        calls.append(len([name for name in sys.modules if name.startswith("pyroute2.")]))
        if len(calls) == 1:
            raise ImportError("cannot import name 'x' from 'pyroute2'")
        return real(name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(rtnetlink, "_import_codec", first_fails)
    assert rtnetlink._load_codec.__wrapped__("ifinfmsg").__name__ == "ifinfmsg"
    assert len(calls) == 2
    assert len([name for name in sys.modules if name.startswith("pyroute2.")]) > 50
