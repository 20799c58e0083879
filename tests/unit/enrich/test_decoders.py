"""Test decoders: names for known values, ``unknown`` for others, never an exception."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from pytracer.enrich import decoders
from pytracer.enrich.cgroups import cgroup_decoder
from pytracer.enrich.connections import connection_error, connection_event, retransmission, tcp_state
from pytracer.enrich.databases import database, query_status
from pytracer.enrich.decode import convert_to_bytes, convert_to_strings, decode, mask_null
from pytracer.enrich.disks import block_operation, disk_decoder
from pytracer.enrich.dns import dns_code, dns_message, dns_name, dns_type
from pytracer.enrich.drops import drop_reason_decoder
from pytracer.enrich.enums import enum_decoder
from pytracer.enrich.errno import errno_name
from pytracer.enrich.flags import clone_flags, open_flags
from pytracer.enrich.http_requests import http_method, http_path
from pytracer.enrich.interfaces import interface_decoder
from pytracer.enrich.io_uring import ring_operation
from pytracer.enrich.kernel_names import signal_code, signal_name
from pytracer.enrich.kvm import kvm_exit_decoder
from pytracer.enrich.lookups import lookup_result
from pytracer.enrich.network_addresses import address
from pytracer.enrich.numa import numa_cause_decoder
from pytracer.enrich.program_arguments import arguments
from pytracer.enrich.sockets import ip_protocol, socket_call, socket_family, socket_protocol, socket_type
from pytracer.enrich.strings import payload, text
from pytracer.spec.signals import SIGNALS
from pytracer.text import from_bytes, harmless
from support.btf_builder import basic


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "EPERM"),
        (2, "ENOENT"),
        (11, "EAGAIN"),
        (110, "ETIMEDOUT"),
        (512, "ERESTARTSYS"),
        (516, "ERESTART_RESTARTBLOCK"),
        (524, "ENOTSUPP"),
        (530, "ERECALLCONFLICT"),
        (0, "errno_0"),
        (520, "errno_520"),
        (4095, "errno_4095"),
    ],
)
def test_errno_names(number, name):
    assert errno_name(number) == name


def test_every_error_of_the_c_library_has_its_name():
    assert {errno_name(number) for number in errno.errorcode} == set(errno.errorcode.values())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bash", "bash"),
        (b"", ""),
        (b"a\0rubbish", "a"),
        (b"\0rubbish", ""),
        ("äöü".encode(), "äöü"),
        (b"a\xffb", "a\\xffb"),
        ("äöüß".encode()[:7], "äöü\\xc3"),
        (b"\xed\xb3\xbf", "\\xed\\xb3\\xbf"),
        (b"\x1b[2J", "\x1b[2J"),  # making it harmless is the sinks' business
    ],
)
def test_text(value, expected):
    assert text(value) == expected


def test_decode_keeps_the_order_and_runs_once_for_each_distinct_value():
    requests = []

    def decoder(value):
        requests.append(value)
        return f"<{value}>"

    assert decode(decoder, np.array([7, 3, 7, 7, 3], dtype="u4")).tolist() == [
        "<7>",
        "<3>",
        "<7>",
        "<7>",
        "<3>",
    ]
    assert sorted(requests) == [3, 7]
    assert {type(value) for value in requests} == {int}


def test_decode_gives_strings_as_bytes():
    values = np.array([b"ls", b"\xff", b"ls", b""], dtype="S16")
    assert decode(text, values).tolist() == ["ls", "\\xff", "ls", ""]


def test_decode_of_nothing():
    assert decode(errno_name, np.array([], dtype="i4")).tolist() == []


def test_interfaces_have_the_name_the_user_gave_else_the_kernels_else_a_number():
    loopback = socket.if_nametoindex("lo")
    assert interface_decoder({loopback: "mine"})(loopback) == "mine"
    assert interface_decoder({})(loopback) == "lo"
    assert interface_decoder({})(2**31 - 1) == "interface_2147483647"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ""),
        ([b""], "''"),
        ([b"", b""], "'' ''"),
        ([b"ls", b"-l"], "ls -l"),
        ([b"sh", b"-c", b"echo $a; it's"], """sh -c 'echo $a; it'"'"'s'"""),
        ([b"a b", b"a\tb", b"a\nb"], r"'a b' $'a\tb' $'a\nb'"),
        ([b"\xff\\", "é".encode(), b"\\xff"], r"$'\xff\\' 'é' '\xff'"),
        ([b"\x1b[2J'", b"\x7f"], r"$'\x1b[2J\'' $'\x7f'"),
        (["\u202e\U000e0001".encode()], r"$'\u202e\U000e0001'"),
    ],
)
def test_arguments(words, expected):
    assert arguments(b"".join(word + b"\0" for word in words)) == expected


def test_arguments_that_were_cut_end_where_they_do():
    assert arguments(b"ls\0-l\0/usr/sh") == "ls -l /usr/sh"


def test_no_two_lists_of_arguments_are_shown_alike():
    parts = [b"", b" ", b"'", b"\\", b"a", b"\xff", b"\n", b"$"]
    words = sorted({first + second for first in parts for second in parts})
    lists = [[a] for a in words] + [[a, b] for a in words for b in words]
    texts = {arguments(b"".join(word + b"\0" for word in first)) for first in lists}
    assert len(texts) == len(lists)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, "RDONLY"),
        (os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, "RDWR|CREAT|EXCL|CLOEXEC"),
        (os.O_WRONLY | os.O_SYNC, "WRONLY|SYNC"),
        (os.O_WRONLY | os.O_DSYNC, "WRONLY|DSYNC"),
        (os.O_DIRECTORY, "RDONLY|DIRECTORY"),
        (os.O_TMPFILE | os.O_RDWR, "RDWR|TMPFILE"),
        (3, "ACCMODE"),
        (1 << 63 | os.O_PATH, "RDONLY|PATH|0x8000000000000000"),
    ],
)
def test_open_flags(flags, expected):
    assert open_flags(flags) == expected


def test_absent_values_have_no_name():
    requests = []
    parsed = decode(lambda value: requests.append(value) or str(value), np.array([0, 2, 0, 2]), 0)
    assert parsed.tolist() == [None, "2", None, "2"]
    assert requests == [2]
    assert decode(errno_name, np.array([0, 0]), 0).tolist() == [None, None]
    assert mask_null(np.array([-1, 3]), -1).tolist() == [None, 3]
    assert mask_null(np.array([-1, 3]), None).tolist() == [-1, 3]


def test_bytes_are_as_long_as_requested():
    values = np.frombuffer(b"ab\0\0ab\0\0", dtype="u1").reshape(2, 4)
    actual = convert_to_bytes(values, np.array([3, 4]))
    assert actual.tolist() == [b"ab\0", b"ab\0\0"]
    assert decode(arguments, actual).tolist() == ["ab", "ab ''"]
    assert convert_to_strings(values).tolist() == [b"ab", b"ab"]  # NULs at the end are NumPy's to drop


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("00000000000000000000ffffc0000201", "192.0.2.1"),
        ("00000000000000000000ffff0a000000", "10.0.0.0"),
        ("00000000000000000000ffff00000000", "0.0.0.0"),
        ("00000000000000000000000000000001", "::1"),
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000fffe0a000000", "::fffe:a00:0"),
        ("20010db8000000000000000000000000", "2001:db8::"),
        ("20010db800010002000300040005ff00", "2001:db8:1:2:3:4:5:ff00"),
    ],
)
def test_addresses(packed, expected):
    assert address(bytes.fromhex(packed)) == expected
    # NumPy takes the NULs off the end of bytes, and gives each distinct value once.
    column = np.frombuffer(bytes.fromhex(packed) * 3, dtype="u1").reshape(3, 16)
    assert decode(address, column.view("S16").reshape(-1)).tolist() == [expected] * 3


def test_reasons_of_drops_are_those_of_the_kernels_types():
    """The numbers of drop reasons change between releases; before Linux 5.17 there are none."""
    for numbers in ({"NO_SOCKET": 3, "TCP_CSUM": 5}, {"TCP_CSUM": 3, "NO_SOCKET": 77}):
        types = basic()
        types.enum("skb_drop_reason", {f"SKB_DROP_REASON_{name}": value for name, value in numbers.items()})
        reason = drop_reason_decoder(types.btf)
        assert [reason(value) for value in numbers.values()] == list(numbers)
        assert (reason(4), reason(2 << 16 | 7)) == ("reason_4", "subsystem_2_reason_7")
    assert drop_reason_decoder(basic().btf)(3) == "reason_3"


def test_reasons_of_writeback_are_those_of_the_kernels_types():
    types = basic()
    types.enum("wb_reason", {"WB_REASON_SYNC": 2})
    reason = enum_decoder("wb_reason", "WB_REASON_", "reason", types.btf)
    assert (reason(2), reason(3), reason(-1)) == ("sync", "reason_3", "reason_-1")


def test_states_of_tcp():
    assert [tcp_state(number) for number in (0, 1, 10, 12, 13)] == [
        "state_0",
        "ESTABLISHED",
        "LISTEN",
        "NEW_SYN_RECV",
        "state_13",
    ]
    assert [retransmission(code) for code in (0, 4, 5)] == ["timeout", "SYNACK", "retransmission_5"]


def test_events_and_errors_of_connections():
    assert [connection_event(code) for code in range(5)] == ["connect", "accept", "close", "fail", "event_4"]
    assert [connection_error(number) for number in (0, 111, 520)] == ["", "ECONNREFUSED", "errno_520"]


INTEGERS = (0, 1, 2**31, 2**32 - 1, 2**32 | 1, 2**63, 2**64 - 1)


OF_BYTES = (
    "http_method",
    "http_path",
    "dns_name",
    "dns_type",
    "text",
    "arguments",
    "registers",
    "kernel_stack",
    "payload",
    "wait_where",
)


@pytest.mark.parametrize("name", sorted(set(decoders({})) - {*OF_BYTES, "address"}))
def test_no_decoder_raises(name):
    width = {"interface": 32, "errno": 31, "packet_protocol": 32}.get(name, 64)
    for value in INTEGERS:
        if value < 1 << width:
            assert isinstance(decoders({})[name](value), str)


def test_registers():
    assert decoders({})["register"](2**64 - 9) == "0xfffffffffffffff7"
    assert decoders({})["registers"](struct.pack("=QQ", 3, 2**63)) == "0x3, 0x8000000000000000"
    assert decoders({})["registers"](b"") == ""


@pytest.mark.parametrize("name", OF_BYTES)
@pytest.mark.parametrize("value", [b"\xff" * 16, b"\0" * 16, bytes(range(128, 144))])
def test_the_decoders_of_bytes_raise_neither(name, value):
    decoded = decoders({})[name](value)
    assert harmless(decoded).isprintable()
    assert decoded.isprintable() or name == "payload"  # which has whatever is no text, too


def test_disks_have_their_name_else_a_number(tmp_path):
    for number, name in (("8:0", "sda"), ("259:1048575", "nvme0n1"), ("104:0", "cciss!c0d0")):
        (tmp_path / "devices" / name).mkdir(parents=True)
        (tmp_path / number).symlink_to(tmp_path / "devices" / name)
    decode = disk_decoder(tmp_path)
    assert decode(8 << 20) == "sda"
    assert decode(259 << 20 | 0xFFFFF) == "nvme0n1"
    assert decode(104 << 20) == "cciss/c0d0"
    assert decode(8 << 20 | 16) == "disk_8:16"
    (tmp_path / "8:0").unlink()
    assert decode(8 << 20) == "sda"
    (tmp_path / "8:16").symlink_to(tmp_path / "nowhere")
    assert decode(8 << 20 | 16) == "disk_8:16"


def test_operations_of_disks():
    names = [block_operation(number) for number in (0, 1, 2, 3, 9, 7, 255)]
    assert names == ["read", "write", "flush", "discard", "write-zeroes", "operation_7", "other"]


def test_targets_are_named_by_number():
    target = decoders({}, ["k:vfs_read", "t:a:b"])["target"]
    assert [target(number) for number in (0, 1, 2, -1)] == ["k:vfs_read", "t:a:b", "unknown:2", "unknown:-1"]


def test_cgroups_are_paths_and_keep_them(tmp_path, monkeypatch):
    monkeypatch.setattr("pytracer.kernel.filter_values.cgroup2_roots", lambda: [tmp_path])
    monkeypatch.setattr("pytracer.enrich.cgroups.cgroup_path", lambda _: None)  # it takes a capability
    subfolder = tmp_path / "system.slice" / ".hidden"
    subfolder.mkdir(parents=True)
    decoder, number = cgroup_decoder(), subfolder.stat().st_ino
    assert decoder(tmp_path.stat().st_ino) == "/"
    assert decoder(number) == "/system.slice/.hidden"
    subfolder.rmdir()
    assert decoder(number) == "/system.slice/.hidden"
    assert decoder(1 << 60) == f"cgroup_{1 << 60}"


def test_a_named_cgroup_is_known_after_its_removal(tmp_path, monkeypatch):
    monkeypatch.setattr("pytracer.enrich.cgroups.cgroup2_roots", lambda: [tmp_path])
    folder = tmp_path / "gone"
    folder.mkdir()
    number = folder.stat().st_ino
    decoder = cgroup_decoder([str(folder)])
    folder.rmdir()
    assert decoder(number) == "/gone"


@pytest.mark.parametrize(
    ("decoder", "number", "name"),
    [
        (socket_call, 4, "send"),
        (socket_call, 99, "call_99"),
        (socket_family, 10, "IPv6"),
        (socket_family, 16, "netlink"),
        (socket_family, 99, "family_99"),
        (socket_protocol, 0x20006, "TCP"),
        (socket_protocol, 0xA0011, "UDP"),
        (socket_protocol, 0x100000, "route"),
        (socket_protocol, 0x100063, "protocol_99"),
        (socket_protocol, 0x10000, ""),
        (socket_type, 2, "dgram"),
        (socket_type, 77, "type_77"),
        (ip_protocol, 262, "MPTCP"),
        (ip_protocol, 253, "protocol_253"),
    ],
)
def test_sockets(decoder, number, name):
    assert decoder(number) == name


def test_ip_protocols_are_those_of_linux_and_three_more():
    """OSPF and VRRP are not in Linux's header; SMC is since 6.11."""
    header = "".join(Path("/usr/include/linux", name).read_text() for name in ("in.h", "in6.h"))
    linux = {(int(number), name) for name, number in re.findall(r"IPPROTO_(\w+)\s*=?\s*(\d+)", header)}
    names = {number: ip_protocol(number) for number in range(65536)}
    names = {number: name for number, name in names.items() if name != f"protocol_{number}"}
    others = {(89, "OSPF"), (112, "VRRP"), (256, "SMC")}
    assert names.items() >= others
    assert {(number, name.upper()) for number, name in names.items() - others} <= linux


def test_socket_types_are_those_of_the_c_library():
    names = {number: socket_type(number) for number in range(99)}
    kinds = {kind.value: kind.name for kind in socket.SocketKind if kind.value in names}
    expected = {number: name.removeprefix("SOCK_").lower() for number, name in kinds.items()} | {6: "DCCP"}
    assert {number: name for number, name in names.items() if name != f"type_{number}"} == expected


def test_an_address_that_is_none_is_not_shown():
    none, present = b"\xff" * 16, bytes(15) + b"\1"
    coded = decode(address, np.array([none, present], dtype="S16"), none)
    assert list(coded.tolist()) == [None, "::1"]


def test_signals_that_can_be_selected_are_named_as_they_are_shown():
    assert [*SIGNALS] == [signal_name(number) for number in range(65)]


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (11, 1, "SEGV_MAPERR"),
        (17, 1, "CLD_EXITED"),
        (29, 2, "POLL_OUT"),
        (9, 0, "SI_USER"),
        (34, -6, "SI_TKILL"),
        (14, 0x80, "SI_KERNEL"),
        (9, 99, "code_99"),
        (10, -1000, "code_-1000"),
    ],
)
def test_codes_of_signals(number, code, name):
    assert signal_code(number << 32 | code & 0xFFFFFFFF) == name


def test_clone_flags():
    assert clone_flags(0x4111) == "VM|VFORK"
    assert clone_flags(17) == ""
    assert clone_flags(1 << 40) == "0x10000000000"


def test_results_of_look_ups():
    assert [lookup_result(number) for number in (0, 1, -2, -999)] == ["ok", "failed", "EAI_NONAME", "EAI_999"]


def test_payloads_are_text_without_an_end():
    assert payload(b"a\0\x1b\xff") == from_bytes(b"a\0\x1b\xff")


@pytest.mark.parametrize(
    ("question", "name", "type_"),
    [
        (b"\3www\7example\3org\0\0\x1c\0\1", "www.example.org", "AAAA"),
        (b"\0\0\2\0\1", ".", "NS"),
        (b"\4a.\\\xff\0\1\0\0\1", r"a\x2e\\\xff", "TYPE_256"),
        (b"\1a\0\1", "a", "TYPE_256"),  # trailing NULs are not in what decoders get
        (b"", ".", "TYPE_0"),
        (b"\xff" * 40, "\\xff" * 39, "TYPE_0"),
        (b"\1a" * 127 + b"\0\0\1\0\1", ".".join("a" * 127), "A"),
    ],
)
def test_dns_questions(question, name, type_):
    assert (dns_name(question), dns_type(question)) == (name, type_)


def test_dns_codes_and_messages():
    assert [dns_code(number) for number in (0, 3, 11, 15)] == ["NOERROR", "NXDOMAIN", "DSOTYPENI", "RCODE_15"]
    assert [dns_message(0), dns_message(1)] == ["query", "answer"]


@pytest.mark.parametrize(
    ("line", "method", "path"),
    [
        (b"GET /a?b=c HTTP/1.1", "GET", "/a?b=c"),
        (b"POST /a b HTTP/1.0", "POST", "/a b"),  # malformed, and shown as it is
        (b"OPTIONS *", "OPTIONS", "*"),  # cut
        (b"GET /\x1b\xff\\ HTTP/1.1", "GET", "/\x1b\\xff\\\\"),
        (b"", "", ""),
    ],
)
def test_lines_of_http(line, method, path):
    assert (http_method(line), http_path(line)) == (method, path)


def test_operations_of_io_uring():
    assert [ring_operation(number) for number in (0, 22, 62, 63)] == ["NOP", "READ", "PIPE", "OP_63"]


def test_reasons_of_virtual_machines_have_the_names_of_the_kernels_event():
    form = (
        'print fmt: "reason %s", (REC->isa == 1) ? __print_symbolic(REC->exit_reason & 0xffff, '
        '{ 10, "CPUID" }, { 48, "EPT_VIOLATION" }) : __print_symbolic(REC->exit_reason, '
        '{ 0x040 + 14, "PF excp" }, { 0x400, "npf" }, { -1, "invalid_guest_state" }), REC->isa'
    )
    decode = kvm_exit_decoder(lambda _name: form.encode())
    vmx, svm = 1 << 32, 2 << 32
    assert [decode(vmx | 10), decode(vmx | 48), decode(vmx | 11)] == ["cpuid", "ept_violation", "vmx_0xb"]
    assert [decode(svm | 0x4E), decode(svm | 0x400), decode(svm | 10)] == ["pf_excp", "npf", "svm_0xa"]
    assert decode(svm | 0xFFFFFFFF) == "invalid_guest_state"
    assert decode(3 << 32 | 5) == "isa_3_0x5"


def test_reasons_of_virtual_machines_without_the_event_are_numbers():
    def absent(name):
        raise FileNotFoundError(name)

    assert kvm_exit_decoder(absent)(1 << 32 | 12) == "vmx_0xc"


def test_causes_of_moves_between_memory_nodes():
    decode = numa_cause_decoder(basic().btf)
    assert [decode(1 << 16), decode((1 << 16) + 1), decode(5)] == ["thread_move", "thread_swap", "reason_5"]


def test_databases_and_the_ends_of_queries():
    assert [database(number) for number in range(4)] == ["postgresql", "sqlite", "mariadb", "database_3"]
    assert [query_status(number) for number in range(3)] == ["ok", "failed", "status_2"]
