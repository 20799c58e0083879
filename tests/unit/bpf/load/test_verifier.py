"""Test summaries of verifier logs, on real logs of several kernels and versions of BCC."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pytracer.bpf.load.verifier import VerifierRefusal, keep_log, summarise

END = "processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n\n"

# Linux 6.18, by BCC: debug information names the file and the line, but BCC keeps no text.
NULL_POINTER = (
    "bpf: Failed to load program: Permission denied\n"
    "0: R1=ctx() R10=fp0\n"
    ";  @ probe.c:4\n"
    "0: (b7) r1 = 1                        ; R1=1\n"
    ";  @ probe.c:5\n"
    "1: (63) *(u32 *)(r10 -4) = r1         ; R1=1 R10=fp0 fp-8=mmmm????\n"
    "2: (18) r1 = 0xffff8881043ce400       ; R1=map_ptr(map=m,ks=4,vs=8)\n"
    "4: (bf) r2 = r10                      ; R2=fp0 R10=fp0\n"
    "5: (07) r2 += -4                      ; R2=fp-4\n"
    "6: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=m,ks=4,vs=8)\n"
    ";  @ probe.c:6\n"
    "7: (79) r1 = *(u64 *)(r0 +0)\n"
    "R0 invalid mem access 'map_value_or_null'\n" + END + "HINT: The 'map_value_or_null' error can happen if "
    "you dereference a pointer value from a map lookup without first checking if that pointer is NULL.\n\n"
)

# Linux 6.10 and later, debug information with the text of the lines.
WITH_TEXT = (
    "0: R1=ctx() R10=fp0\n"
    "; u64 *p = (u64 *)bpf_ktime_get_ns(); @ probe.c:3\n"
    "0: (85) call bpf_ktime_get_ns#5       ; R0_w=scalar()\n"
    "; return *p; @ probe.c:4\n"
    "1: (79) r0 = *(u64 *)(r0 +0)\n"
    "R0 invalid mem access 'scalar'\n" + END
)

# Linux 5.10: text but no file, the state of the registers on lines of their own.
LINUX_5_10 = (
    "func#0 @0\n"
    "0: R1=ctx(id=0,off=0,imm=0) R10=fp0\n"
    "; u64 *p = (u64 *)bpf_ktime_get_ns();\n"
    "0: (85) call bpf_ktime_get_ns#5\n"
    "1: R0_w=inv(id=0) R10=fp0\n"
    "; return *p;\n"
    "1: (79) r0 = *(u64 *)(r0 +0)\n"
    "R0 invalid mem access 'inv'\n" + END
)

# Linux 6.18, without debug information.
LOOP = (
    "0: R1=ctx() R10=fp0\n"
    "0: (85) call bpf_get_prandom_u32#7    ; R0=scalar()\n"
    "1: (67) r0 <<= 32                     ; R0=scalar(smax=0x7fffffff00000000)\n"
    "3: (55) if r0 != 0x7 goto pc-4 0: R0=scalar(smin=0,smax=umax=0xffffffff) R10=fp0\n"
    "0: (85) call bpf_get_prandom_u32#7\n"
    "infinite loop detected at insn 1\n"
    "cur state: R0=scalar() R10=fp0\n"
    "old state: R0=scalar() R10=fp0\n" + END
)
LOOP_BEHIND_A_JUMP = (
    "1: (85) call bpf_ktime_get_ns#5       ; R0=scalar()\n"
    "2: (55) if r0 != 0x0 goto pc-2 infinite loop detected at insn 1\n"
    "cur state: R0=scalar(umin=1) R10=fp0\n"
    "old state: R0=scalar(umin=1) R10=fp0\n" + END
)
# Linux 5.10 says no more than this, after a state that begins with a blank.
LOOP_5_10 = (
    "1: (85) call bpf_ktime_get_ns#5\n"
    "2: (55) if r0 != 0x0 goto pc-2\n"
    " R0_w=inv(id=0) R10=fp0\n"
    "infinite loop detected at insn 1\n" + END
)

MAP_BOUNDS = (
    "from 6 to 9: R0=map_value(ks=4,vs=8) R10=fp0 fp-8=0\n"
    "9: (79) r0 = *(u64 *)(r0 +8)\n"
    "invalid access to map value, value_size=8 off=8 size=8\n"
    "R0 min value is outside of the allowed memory range\n" + END
)


@pytest.mark.parametrize(
    ("log", "reason", "source"),
    [
        pytest.param(
            NULL_POINTER, "R0 invalid mem access 'map_value_or_null'", "probe.c:6", id="null-pointer"
        ),
        pytest.param(WITH_TEXT, "R0 invalid mem access 'scalar'", "probe.c:4: return *p;", id="with-text"),
        pytest.param(LINUX_5_10, "R0 invalid mem access 'inv'", "return *p;", id="linux-5.10"),
        pytest.param(LOOP, "infinite loop detected at insn 1", "", id="loop"),
        pytest.param(LOOP_BEHIND_A_JUMP, "infinite loop detected at insn 1", "", id="loop-behind-a-jump"),
        pytest.param(LOOP_5_10, "infinite loop detected at insn 1", "", id="loop-5.10"),
        pytest.param(
            MAP_BOUNDS,
            "invalid access to map value, value_size=8 off=8 size=8; "
            "R0 min value is outside of the allowed memory range",
            "",
            id="two-lines",
        ),
    ],
)
def test_reason_and_source(log, reason, source):
    assert summarise(log) == VerifierRefusal(reason, source)


@pytest.mark.parametrize(
    "words",
    [
        "R1 type=ctx expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_",
        "R0 !read_ok",
        "R2 unbounded memory access, use 'var &= const' or 'if (var < const)'",
        "R0 pointer arithmetic prohibited",
        "invalid write to stack R10 off=-520 size=8",
        "invalid stack off=-520 size=8",
        "invalid bpf_context access off=-8 size=8",
        "misaligned stack access off 0+0+-3 size 8",
        "math between map_value pointer and register with unbounded min value is not allowed",
        "combined stack size of 2 calls is 640. Too large",
        "BPF program is too large. Processed 1000001 insn",
        "The sequence of 8193 jumps is too complex.",
        "unreachable insn 2",
        "back-edge from insn 3 to 1",
        "unknown func bpf_ktime_get_boot_ns#125",
        "cannot call GPL-restricted function from non-GPL compatible program",
    ],
)
def test_the_verifiers_last_words_are_the_reason(words):
    log = f"0: R1=ctx() R10=fp0\n0: (b7) r1 = 1                        ; R1=1\n{words}\n{END}"
    assert summarise(log).reason == words


def test_messages_of_other_branches_are_discarded():
    log = (
        "; first @ a.c:1\nR9 invalid mem access 'scalar'\n; second @ a.c:2\n5: (95) exit\nR0 !read_ok\n" + END
    )
    assert summarise(log) == VerifierRefusal("R0 !read_ok", "a.c:2: second")


@pytest.mark.parametrize("log", ["", "\n", "bpf: Failed to load program: Invalid argument\n\n", END])
def test_a_log_without_words(log):
    assert summarise(log) == VerifierRefusal("no reason was given", "")


def test_the_whole_log_is_kept_in_a_private_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = Path(keep_log("enter", NULL_POINTER))
    assert path.parent == tmp_path
    assert "enter" in path.name
    assert path.read_text() == NULL_POINTER
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()
