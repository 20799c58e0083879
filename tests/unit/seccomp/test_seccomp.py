"""Test seccomp profiles against an interpreter of filters and against libseccomp, and their errors."""

from __future__ import annotations

import errno
import io
import itertools
import json
import platform
from types import SimpleNamespace

import pytest

from pytracer import seccomp
from pytracer.cli import tracer_parser
from pytracer.cli.main import main
from pytracer.enrich.seccomp_calls import ALWAYS, profile
from pytracer.errors import LossError, UsageError
from pytracer.kernel import syscalls
from pytracer.model import Loss, ProfileSnapshot, Snapshot
from pytracer.plan import make_plan
from pytracer.seccomp.document import JsonPiece
from pytracer.seccomp.filter_program import build
from pytracer.seccomp.oci_profile import ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRAP, read
from pytracer.sinks import make_sink
from pytracer.spec import registry
from support import classic_bpf, libseccomp
from support.fake_kernel import FakeKernel

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers below are x86-64's")
EPERM = ERRNO | errno.EPERM
X86, X32 = "SCMP_ARCH_X86", "SCMP_ARCH_X32"
START = {"names": ["execve"], "action": "SCMP_ACT_ALLOW"}
BIG = (1 << 64) - 1
NUMBERS = [
    *range(1100),
    *range(syscalls.X32_BIT, syscalls.X32_BIT + 1100),
    syscalls.X32_BIT - 1,
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF),
]


def document(*entries, default="SCMP_ACT_ERRNO", **fields):
    return {"defaultAction": default, "syscalls": [START, *entries], **fields}


def allow(*names, **fields):
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **fields}


def compare(index, operation, value, second=0):
    return {"index": index, "op": f"SCMP_CMP_{operation}", "value": value, "valueTwo": second}


def decode_own(profile):
    return classic_bpf.decode(build(read(JsonPiece(profile, ""))))


def verdict(profile, name, *args, abi="x86_64", arch=None):
    """Return the filter's verdict on a call."""
    number = syscalls.number_of(abi, name)
    if abi == "x32":
        number |= syscalls.X32_BIT
    arch = arch or {"i386": classic_bpf.I386}.get(abi, classic_bpf.NATIVE)
    return classic_bpf.run(decode_own(profile), classic_bpf.call(number, arch, args))


# What libseccomp makes of the same profile.

# An older libseccomp does not know the newest.
_NEW = {*syscalls.RECENT, "uprobe", "uretprobe"}
EVERYTHING = [name for name in syscalls.all_names("x86_64") if name not in _NEW]
VALUES = [0, 1, 4, 5, 6, 0xFFFFFFFF, 0x100000005, 0x500000000, 0x700000005, 1 << 63, BIG]
AGREED = {
    "a few": document(allow("read", "write", "close", "exit_group")),
    "every other": document(allow(*EVERYTHING[::2]), architectures=[X86, X32]),
    "all but a few": document(
        {"names": ["kill", "bind", "semop"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["reboot"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["ptrace"], "action": "SCMP_ACT_KILL"},
        default="SCMP_ACT_ALLOW",
        architectures=[X86],
    ),
    "sub-calls of i386": document(allow("bind", "socket", "semget", "shmat"), architectures=[X86]),
    "a mask": document(
        allow("clone", args=[compare(0, "MASKED_EQ", 0x7E020000, 0)]),
        allow("mmap", args=[compare(2, "MASKED_EQ", 0xFFFFFFFF00000006, 0x500000004)]),
        architectures=[X86, X32],
    ),
    "several arguments": document(
        allow("socket", args=[compare(0, "EQ", 5), compare(1, "GT", 4), compare(2, "NE", 6)]),
        {"names": ["mprotect"], "action": "SCMP_ACT_LOG", "args": [compare(2, "GE", 5)]},
        default="SCMP_ACT_TRAP",
    ),
    "several cases": document(
        *(allow("personality", args=[compare(0, "EQ", value)]) for value in (0, 5, 0xFFFFFFFF)),
        architectures=[X86],
    ),
}
COMPARISONS = {
    f"{operation} {value:#x}": document(
        allow("write", args=[compare(2, operation, value)]), architectures=[X86]
    )
    for operation in ("NE", "LT", "LE", "EQ", "GE", "GT")
    for value in (0, 5, 0x100000005, BIG)
}
ASKING = COMPARISONS | {name: profile for name, profile in AGREED.items() if "args" in str(profile)}


@pytest.mark.parametrize("case", AGREED)
def test_libseccomp_agrees_on_every_call(case):
    own_program, other = decode_own(AGREED[case]), libseccomp.program(AGREED[case])
    for arch in (classic_bpf.NATIVE, classic_bpf.I386, classic_bpf.ARM64, 0):
        for number in NUMBERS:
            data = classic_bpf.call(number, arch, (5, 6, 5, 1))
            assert classic_bpf.run(own_program, data) == classic_bpf.run(other, data), (
                hex(arch),
                hex(number),
            )


@pytest.mark.parametrize("case", ASKING)
def test_libseccomp_agrees_on_every_argument(case):
    own_program, foreign = decode_own(ASKING[case]), libseccomp.program(ASKING[case])
    names = {name for entry in ASKING[case]["syscalls"] if "args" in entry for name in entry["names"]}
    for name, (abi, arch) in itertools.product(
        names, (("x86_64", classic_bpf.NATIVE), ("i386", classic_bpf.I386))
    ):
        number = syscalls.number_of(abi, name)
        for value, other in itertools.product(VALUES, (5, 7)):
            for args in ((value, other, other), (other, value, other), (5, other, value)):
                data = classic_bpf.call(number, arch, args)
                assert classic_bpf.run(own_program, data) == classic_bpf.run(foreign, data), (name, abi, args)


# What a profile means.


def test_numbers_are_those_of_the_abi():
    profile = document(allow("read"), architectures=[X86])
    assert verdict(profile, "read") == verdict(profile, "read", abi="i386") == ALLOW
    assert verdict(profile, "write") == verdict(profile, "write", abi="i386") == EPERM
    assert syscalls.number_of("i386", "read") != syscalls.number_of("x86_64", "read")


def test_an_abi_that_is_not_named_ends_the_process():
    for architectures in ([], ["SCMP_ARCH_X86_64"], ["SCMP_ARCH_AARCH64"]):
        profile = document(allow("read"), architectures=architectures, default="SCMP_ACT_ALLOW")
        assert verdict(profile, "read") == ALLOW
        assert verdict(profile, "read", abi="i386") == KILL_PROCESS
        assert verdict(profile, "read", abi="x32") == KILL_PROCESS
        assert verdict(profile, "read", arch=classic_bpf.ARM64) == KILL_PROCESS


def test_the_map_of_architectures_names_those_of_this_machine():
    entries = [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": [X86, X32]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ]
    profile = document(allow("read"), archMap=entries)
    assert read(JsonPiece(profile, "")).abis == ("x86_64", "i386", "x32")
    assert read(JsonPiece(profile | {"archMap": entries[1:]}, "")).abis == ("x86_64",)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"action": "SCMP_ACT_ALLOW"}, ALLOW),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 38}, ERRNO | 38),
        ({"action": "SCMP_ACT_ERRNO", "errno": "ENOSYS"}, ERRNO | 38),
        ({"action": "SCMP_ACT_ERRNO", "errno": "ENOSYS", "errnoRet": 38}, ERRNO | 38),
        ({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}, ERRNO),
        ({"action": "SCMP_ACT_KILL"}, KILL_THREAD),
        ({"action": "SCMP_ACT_KILL_THREAD"}, KILL_THREAD),
        ({"action": "SCMP_ACT_KILL_PROCESS"}, KILL_PROCESS),
        ({"action": "SCMP_ACT_TRAP"}, TRAP),
        ({"action": "SCMP_ACT_LOG"}, LOG),
    ],
)
def test_actions(fields, answer):
    assert verdict(document({"names": ["getppid"], **fields}), "getppid") == answer
    top = {"defaultAction": fields["action"]}
    for field, default in (("errnoRet", "defaultErrnoRet"), ("errno", "defaultErrno")):
        if field in fields:
            top[default] = fields[field]
    assert verdict(document() | top, "getppid") == answer


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["arm64", "s390x"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "5.100"}}, True),
        ({"includes": {"minKernel": "6.1"}}, True),
        ({"includes": {"minKernel": "6.2"}}, False),
        ({"excludes": {"minKernel": "4.8"}}, False),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"includes": {}, "excludes": {"caps": [], "arches": None}}, True),
        ({"includes": {"arches": ["amd64"]}, "excludes": {"caps": ["CAP_CHOWN"]}}, False),
    ],
)
def test_dockers_conditions_of_entries(monkeypatch, condition, is_met):
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release="6.1.0-56-cloud", machine="x86_64"))
    monkeypatch.setattr(
        "pytracer.seccomp.oci_profile.effective_capabilities", lambda: frozenset({"CAP_CHOWN"})
    )
    assert verdict(document(allow("mount", **condition)), "mount") == (ALLOW if is_met else EPERM)


def test_a_rule_without_conditions_for_a_call_of_sub_calls_leaves_the_rules_for_these():
    refused = {"names": ["bind"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}
    profile = document(allow("socketcall"), refused, architectures=[X86], default="SCMP_ACT_LOG")
    assert verdict(profile, "socketcall", 2, abi="i386") == ERRNO | 13
    assert verdict(profile, "socketcall", 3, abi="i386") == ALLOW


def test_names_of_other_machines_and_the_old_format_are_accepted():
    old = {"name": "getppid", "action": "SCMP_ACT_ALLOW", "args": None, "comment": ""}
    assert verdict(document(allow("s390_pci_mmio_read", "arm_fadvise64_64"), old), "getppid") == ALLOW


def test_flags():
    names = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    assert read(JsonPiece(document(flags=names), "")).flags == 6


# What is refused: a line, exit status 2.

REFUSED = [
    ("{", "it is no JSON"),
    ("", "it is no JSON"),
    (b"\xff\xfe\x00", "it is no JSON"),
    ("[" * 100_000, "nested too deeply"),
    ('{"a":' * 100_000, "nested too deeply"),
    ("9" * 5000, "it is no JSON"),
    ("[]", "a profile is an object, not a list"),
    ("NaN", "a profile is an object, not NaN"),
    ("{}", "it has no field 'defaultAction'"),
    ('{"defaultAction": 1}', "defaultAction is a string, not 1"),
    ('{"defaultAction": "SCMP_ACT_ALOW"}', "no action 'SCMP_ACT_ALOW'"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_LOG"}', "stands twice in one object"),
    (document(default="SCMP_ACT_TRACE"), "SCMP_ACT_TRACE leaves it to a tracer"),
    (document(default="SCMP_ACT_NOTIFY"), "SCMP_ACT_NOTIFY leaves it to an agent"),
    (document(default="SCMP_ACT_LOG", defaultErrnoRet=1), "is for SCMP_ACT_ERRNO alone"),
    (document(defaultErrnoRet=4096), "defaultErrnoRet is a whole number from 0 to 4095, not 4096"),
    (document(defaultErrnoRet=True), "a whole number from 0 to 4095, not true"),
    (document(defaultErrnoRet=1.0), "a whole number from 0 to 4095, not 1.0"),
    (document(defaultErrnoRet=1, defaultErrno="EACCES"), "are not the same error"),
    (document(defaultErrno="ENONSENSE"), "defaultErrno: no error 'ENONSENSE'"),
    (document(flags=["SECCOMP_FILTER_FLAG_NEW_LISTENER"]), "flags[0]: no flag"),
    (document(flags="LOG"), "flags is a list, not LOG"),
    (document(syscals=[]), "no field 'syscals'"),
    (document(architectures=["SCMP_ARCH_X86_65"]), "architectures[0]: no architecture 'SCMP_ARCH_X86_65'"),
    (document(architectures=[X86], archMap=[]), "both 'architectures' and 'archMap'"),
    (document(archMap=[{}]), "archMap[0] has no field 'architecture'"),
    (document("read"), "syscalls[1] is an object, not read"),
    (document({"action": "SCMP_ACT_ALLOW"}), "syscalls[1] is to have one of the fields 'names' and 'name'"),
    (document(allow("read", name="write")), "is to have one of the fields 'names' and 'name'"),
    (document({"names": ["read"]}), "syscalls[1] has no field 'action'"),
    (document(allow("red")), "syscalls[1].names[0]: no system call 'red'"),
    (document(allow("read\0x")), "no system call"),
    (document(allow("\x1b[31mread")), "no system call"),
    (document(allow("syscall_999")), "no system call 'syscall_999'"),
    (document(allow("x" * 10_000)), "no system call 'xxxxx"),
    (document(allow(1)), "syscalls[1].names[0] is a string, not 1"),
    (document(allow("read", arg=[])), "syscalls[1]: no field 'arg'"),
    (document(allow("read", args=[{"op": "SCMP_CMP_EQ"}])), "syscalls[1].args[0] has no field 'index'"),
    (document(allow("read", args=[{"index": 0}])), "syscalls[1].args[0] has no field 'op'"),
    (document(allow("read", args=[compare(6, "EQ", 0)])), "index is a whole number from 0 to 5, not 6"),
    (
        document(allow("read", args=[compare(0, "EQ", -1)])),
        f"value is a whole number from 0 to {BIG}, not -1",
    ),
    (document(allow("read", args=[compare(0, "EQ", BIG + 1)])), f"value is a whole number from 0 to {BIG}"),
    (document(allow("read", args=[compare(0, "IS", 1)])), "no comparison 'SCMP_CMP_IS'"),
    (document(allow("read", args=[compare(0, "EQ", 1, 2)])), "valueTwo is for SCMP_CMP_MASKED_EQ alone"),
    (document(allow("read", includes={"minKernel": "new"})), "a kernel's version, such as 4.8, not new"),
    (document(allow("read", includes={"caps": ["CAP_CHWON"]})), "no capability 'CAP_CHWON'"),
    (document(allow("read", includes={"cap": []})), "syscalls[1].includes: no field 'cap'"),
    (
        document(allow("read"), {"names": ["read"], "action": "SCMP_ACT_LOG"}),
        "the rules for read contradict each other",
    ),
    (
        document(allow("read"), {"names": ["read"], "action": "SCMP_ACT_LOG", "args": [compare(0, "EQ", 1)]}),
        "the rules for read contradict each other",
    ),
    ({"defaultAction": "SCMP_ACT_ERRNO"}, "it lets no command be started"),
    (document(allow(*["read"] * 9000)), "more than 8192 rules"),
    (
        document(*(allow("read", args=[compare(0, "EQ", n), compare(1, "EQ", n)]) for n in range(1000))),
        "the kernel takes 4096",
    ),
    (" " * (1 << 20) + "{}", "larger than 1048576 bytes"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_invalid_profiles_are_refused(tmp_path, capsys, text, message):
    path = tmp_path / "profile"
    if not isinstance(text, (str, bytes)):
        text = json.dumps(text)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["syscalls", "--enforce", str(path), "--", "true"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("pytracer: error: seccomp profile ")
    assert message in lines[0]
    assert len(lines) <= 2
    assert not any(ord(letter) < 32 for line in lines for letter in line)
    assert len(lines[0]) < 400


@pytest.mark.parametrize("name", ["/nowhere/profile", "/", "a\0b"])
def test_a_file_that_cannot_be_read(name):
    with pytest.raises(UsageError, match="cannot read"):
        seccomp.confinement(name)


def test_near_names_are_shown():
    with pytest.raises(UsageError) as excinfo:
        read(JsonPiece(document(allow("openatt")), ""))
    assert "did you mean openat" in excinfo.value.hint


def test_an_architecture_with_unknown_call_numbers_is_reported(monkeypatch):
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="riscv64"))
    with pytest.raises(Exception, match="not known here") as excinfo:
        decode_own({"defaultAction": "SCMP_ACT_ALLOW"})
    assert excinfo.value.exit_code == 4


# A profile of what was called.


def profile_of_calls(*labels):
    return profile(Snapshot("summary", 0.0, 1.0, {"syscall": labels, "calls": [1] * len(labels)}))


def write_profile(*items):
    text = io.StringIO()
    sink = make_sink("seccomp", text, timestamps=False, terminal=False)
    for item in items:
        sink.emit(item)
    sink.close()
    return text.getvalue()


def test_a_profile_does_not_depend_on_the_order():
    assert write_profile(profile_of_calls("read", "openat", "close")) == write_profile(
        profile_of_calls("close", "read", "openat")
    )


def test_calls_of_every_command_and_of_the_runtime_are_listed_separately():
    parsed = json.loads(write_profile(profile_of_calls("read", "openat")))
    assert parsed["defaultAction"] == "SCMP_ACT_ERRNO"
    assert parsed["architectures"] == ["SCMP_ARCH_X86_64"]
    command, runtime = (entry["names"] for entry in parsed["syscalls"])
    assert command == sorted({"read", "openat", *ALWAYS})
    assert "capset" in runtime
    assert not set(command) & set(runtime)


def test_other_abis_are_architectures_of_the_profile():
    recorded = profile_of_calls("i386:read", "x32:write", "close")
    assert recorded.architectures == ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
    assert {"read", "write", "close", "sigreturn"} <= set(recorded.calls)


def test_calls_without_a_name_are_reported_and_left_out():
    recorded = profile_of_calls("syscall_999", "i386:syscall_998", "read")
    assert recorded.unnamed == ("i386:syscall_998", "syscall_999")
    assert recorded.calls == profile_of_calls("read").calls


def test_a_recorded_profile_can_be_enforced(tmp_path):
    path = tmp_path / "profile"
    path.write_text(write_profile(profile_of_calls(*EVERYTHING[::3])))
    program = classic_bpf.decode(seccomp.confinement(str(path)).program)
    allowed = {n for n in range(600) if classic_bpf.run(program, classic_bpf.call(n)) == ALLOW}
    names = {name for entry in json.loads(path.read_text())["syscalls"] for name in entry["names"]}
    assert allowed == {syscalls.number_of("x86_64", name) for name in names}


def test_a_profile_that_may_lack_a_call_is_not_written():
    with pytest.raises(LossError, match="2 lost"):
        write_profile(Loss("follow_full", 2, "descendants", 0.0), profile_of_calls("read"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--profile", "a profile is of a command"),
        ("--profile -p 1 -- true", "--pid and a profile do not go together"),
        ("--profile --comm x -- true", "--comm and a profile"),
        ("--profile -e read -- true", "--calls and a profile"),
        ("--profile --by pid,syscall -- true", "--by pid,syscall and a profile"),
        ("--profile 1 -- true", "INTERVAL and a profile"),
        ("--profile -d 1 -- true", "-d and a profile"),
        ("--profile --top 3 -- true", "--top and a profile"),
        ("--profile --sort calls -- true", "--sort and a profile"),
        ("--profile --latency -- true", "do not go together"),
        ("--enforce {}", "--enforce is for a command that is started"),
        ("--enforce {} --count -- true", "do not go together"),
        ("--enforce {} --profile -- true", "do not go together"),
    ],
)
def test_conflicting_fields(tmp_path, line, message):
    path = tmp_path / "profile"
    path.write_text(json.dumps(document()))
    request, _ = tracer_parser.parse(registry.get("syscalls"), line.format(path).split())
    with pytest.raises(UsageError, match=message):
        make_plan(request, FakeKernel())


def test_a_profile_has_a_format_of_its_own(capsys):
    assert main(["syscalls", "--profile", "-f", "json", "--", "true"]) == 2
    assert "cannot be combined with -f json" in capsys.readouterr().err


def test_the_filter_is_part_of_the_request(tmp_path):
    path = tmp_path / "profile"
    path.write_text(json.dumps(document(flags=["SECCOMP_FILTER_FLAG_LOG"])))
    request, _ = tracer_parser.parse(registry.get("syscalls"), ["--enforce", str(path), "--", "true"])
    confinement = request.options["enforce"]
    assert confinement.flags == 2
    assert len(confinement.program) % 8 == 0
    assert "ENFORCE" in dict(make_plan(request, FakeKernel()).defines)


def test_a_profile_is_a_table_too():
    recorded = profile_of_calls("read", "openat")
    assert isinstance(recorded, ProfileSnapshot)
    assert [row["syscall"] for row in recorded.rows()] == ["read", "openat"]
