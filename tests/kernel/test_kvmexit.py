"""Test kvmexit against a virtual machine of a few instructions, each of which is known to exit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import run
from support.needs import was_refused

pytestmark = pytest.mark.kernel
PORTS, IDENTITIES = 23, 17
VENDORS = ("amd", "intel")
# Real mode code that writes to a port, asks for the processor's identity, and halts; each is an exit.
MACHINE = f"""
import ctypes, fcntl, json, mmap, os, struct
open("/proc/self/comm", "wb").write(b"vm\\n\\x1b[31m")
RAN = struct.Struct("=8xI")
def machine():
    kvm = os.open("/dev/kvm", os.O_RDWR)
    vm = fcntl.ioctl(kvm, 0xAE01, 0)  # KVM_CREATE_VM
    memory = mmap.mmap(-1, 4096, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    code = b"\\xba\\xf8\\x03" + b"\\xee" * {PORTS} + b"\\x31\\xc0\\x0f\\xa2" * {IDENTITIES} + b"\\xf4"
    memory[: len(code)] = code
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, 0x4020AE46, struct.pack("=IIQQQ", 0, 0, 0x1000, 4096, address))
    cpu = fcntl.ioctl(vm, 0xAE41, 0)  # KVM_CREATE_VCPU
    state = mmap.mmap(cpu, fcntl.ioctl(kvm, 0xAE04, 0))
    special = bytearray(312)
    fcntl.ioctl(cpu, 0x8138AE83, special)  # KVM_GET_SREGS: the code segment first, base and selector
    struct.pack_into("=Q", special, 0, 0)
    struct.pack_into("=H", special, 12, 0)
    fcntl.ioctl(cpu, 0x4138AE84, bytes(special))
    fcntl.ioctl(cpu, 0x4090AE82, struct.pack("=18Q", *[0] * 16, 0x1000, 2))  # rip, rflags
    reasons = []
    while not reasons or reasons[-1] == 2:  # KVM_EXIT_IO
        fcntl.ioctl(cpu, 0xAE80, 0)  # KVM_RUN
        reasons.append(RAN.unpack_from(state)[0])
    return reasons
try:
    reasons = machine()
except OSError as error:
    reasons = str(error)
os.write(2, json.dumps([os.getpid(), reasons]).encode() + b"\\n")
"""


def exits(*words):
    """Return the result, the process, and why the machine returned to it each time; None if there is no
    KVM."""
    for vendor in VENDORS:  # where KVM is a module; of a processor of the other, it does not load
        subprocess.run(["modprobe", f"kvm_{vendor}"], check=False, capture_output=True)
    result = run("kvmexit", *words, "--", sys.executable, "-c", MACHINE)
    if was_refused(result, {"vm_exit": "tracepoint"}):
        return None
    assert result.status == 0, result.err
    return result, *json.loads(next(line for line in result.err.splitlines() if line.startswith("[")))


def is_seen(reasons):
    """Return whether the machine ran, by a KVM that raises the event."""
    assert reasons == [2] * PORTS + [5] or isinstance(reasons, str), reasons
    return not isinstance(reasons, str) and any(Path(f"/sys/module/kvm_{v}").exists() for v in VENDORS)


@pytest.mark.smoke
@pytest.mark.lab
def test_each_instruction_that_exits_is_counted():
    actual = exits("-f", "json", "--by", "pid,tid,reason")
    if actual is None:
        return
    result, pid, reasons = actual
    rows = {row["reason"]: row for row in result.of("summary")}
    if not is_seen(reasons):
        assert not rows
        return
    # Processors of Intel have other names for two of them.
    names = {"io_instruction": "io"}
    counts = {names.get(reason, reason): row["exits"] for reason, row in rows.items()}
    assert (counts["io"], counts["cpuid"], counts["hlt"]) == (PORTS, IDENTITIES, 1)
    assert {(row["pid"], row["tid"], row["comm"]) for row in rows.values()} == {(pid, pid, "vm\n\x1b[31m")}
    assert rows["hlt"]["total_ns"] == 0  # the machine is not entered again
    assert all(row["total_ns"] > 0 for row in rows.values() if row["reason"] != "hlt")


@pytest.mark.lab
def test_hostile_names_stay_text_and_rows_add_up():
    rows = exits("--by", "comm")
    if rows is None:
        return
    result, _, reasons = rows
    assert "\x1b" not in result.out
    if is_seen(reasons):
        row = next(line.split() for line in result.out.splitlines() if line.startswith(r"vm\n\x1b[31m"))
        assert int(row[1]) >= PORTS + IDENTITIES + 1
