"""Explain a rejected program in plain words, from the verifier log or the compiler's errors.

The kernel's words differ by version; the pattern says what is known of that. tests/kernel/test_explain.py
has a program rejected for each of them on every kernel. If the stack is too large, LLVM complains and ends
the process; so C files of users are compiled in a process of their own (``explain/load_trial.py``).
"""

from __future__ import annotations

import re

from pytracer.record import record


@record
class Explanation:
    """``meaning``: the reason of the refusal. ``remedy``: how to change the program."""

    meaning: str
    remedy: str


_RULES: tuple[tuple[str, Explanation], ...] = (
    (
        r"invalid mem access '\w+_or_null'|invalid mem access 'mem_or_null'",
        Explanation(
            "The pointer may be NULL here. A look-up in a map gives NULL where the key is not in it, and "
            "so does "
            "asking for room in a ring that is full; on this path nothing has made sure that it did not.",
            "Test the pointer before it is followed: if (!value) return 0; and follow it only behind that.",
        ),
    ),
    (
        r"invalid mem access '(scalar|inv)'",  # inv: older kernels, 5.10 among them
        Explanation(
            "What is followed as a pointer is just a number to the verifier: it came out of memory, or out "
            "of "
            "arithmetic, and nothing says that there is something at that address.",
            "Read through it with bpf_probe_read_kernel() or bpf_probe_read_user(), which fail instead of "
            "crashing; or get the pointer from where the verifier knows its type (the context, a map, BTF).",
        ),
    ),
    (
        r"infinite loop detected|back-edge from insn|program is too large\. Processed|too many states"
        r"|sequence of \d+ jumps is too complex|loop is not bounded",
        Explanation(
            "The verifier walks through a loop turn by turn, and sees no end to this one: it came back to "
            "the same "
            "place with nothing changed that would end it, or gave up after a million instructions.",
            "Give the loop a bound that is a constant (for (i = 0; i < 16; i++)), and leave it earlier where "
            "there is reason to. Where more turns are needed: bpf_loop() (Linux 5.17).",
        ),
    ),
    (
        r"stack limit (of 512 bytes )?is exceeded|combined stack size|invalid (write to |read from )?stack "
        r"(R\d+ )?off=-(5[1-9]\d|[6-9]\d\d|\d{4,})|invalid stack (type )?R10 off=-5",
        Explanation(
            "A program has 512 bytes of stack, for all of its variables together and for what it calls.",
            "Keep what is large in a map: a BPF_PERCPU_ARRAY with one entry is room of any size that no "
            "other "
            "program shares with this CPU. Or reserve it in the ring that it goes to.",
        ),
    ),
    (
        r"invalid (indirect )?(read from|access to) stack|invalid indirect access to stack"
        r"|invalid read from stack",
        Explanation(
            "What is read there was never written: it is whatever was on the stack before.",
            "Set the whole variable first, padding included: __builtin_memset(&key, 0, sizeof(key)).",
        ),
    ),
    (
        r"R\d+ !read_ok",
        Explanation(
            "A register is used that holds nothing on this path: a variable that was not set, or the "
            "result of "
            "a program that ends without one. Calls of helpers empty the registers R1 to R5.",
            "Set the variable on every path, and end every path with a return of a value.",
        ),
    ),
    (
        r"invalid access to packet|offset is outside of the packet",
        Explanation(
            "Nothing on this path says that the packet is so long: it ends where data_end is, which may be "
            "before this byte.",
            "Compare first: if (data + offset + size > data_end) return ...; and read behind that. Or copy "
            "it "
            "out with bpf_skb_load_bytes(), which fails where the packet ends.",
        ),
    ),
    (
        r"unbounded memory access|min value is (negative|outside)|max value is outside"
        r"|invalid access to map value|invalid access to memory|unbounded min value"
        r"|invalid variable-offset|invalid zero-sized read|invalid access to map_value",
        Explanation(
            "The place that is read or written may lie outside of what the pointer belongs to: its "
            "distance can "
            "be, as far as the verifier can tell, less than nothing or more than the size.",
            "Bound the distance where the verifier sees it, right before it is used: if (i >= 16) return "
            "0; or "
            "i &= 15. A comparison of a copy, or of the value before it was changed, does not count.",
        ),
    ),
    (
        r"invalid bpf_context access|dereference of modified ctx|invalid access to context",
        Explanation(
            "The context (the program's argument) has no member at this place that this kind of program may "
            "use, or not in this size.",
            "Use only the members that the kind of program documents; a pointer to the context cannot be "
            "moved.",
        ),
    ),
    (
        r"unknown func|cannot use helper|helper call is not allowed|program of this type cannot",
        Explanation(
            "This kind of program may not call that helper, or this kernel does not have it.",
            "Do that part in another kind of program, or without the helper; bpf-helpers(7) says since "
            "when and "
            "for what each is.",
        ),
    ),
    (
        r"cannot call GPL",
        Explanation(
            "The helper is lent to programs under the GPL alone, and this one says that it is not.",
            'Say so, where it is true: a licence of "GPL" or "Dual BSD/GPL".',
        ),
    ),
    (
        r"[Uu]nreleased reference|reference leak|BPF_EXIT instruction .*reference|has unreleased",
        Explanation(
            "Something that was taken (room in a ring, a socket) is given back on some paths only; this one "
            "leaves without.",
            "Submit, discard or release it on every path, the early returns too.",
        ),
    ),
    (
        r"pointer arithmetic|math between|bitwise operator .* on pointer|prohibited",
        Explanation(
            "This arithmetic would make of a pointer something that the verifier cannot follow.",
            "Only add to and take from a pointer what is a number within bounds; do everything else before.",
        ),
    ),
    (
        r"At program exit the register R0|R0 has (value|unknown|invalid)|should have been in",
        Explanation(
            "What is returned means something to this kind of program, and this is not among what it may be.",
            "Return one of the values that the kind of program has, and nothing that was computed.",
        ),
    ),
    (
        r"R\d+ type=\w+ expected=",
        Explanation(
            "The helper takes another kind of argument there: a pointer to the stack or into a map, mostly.",
            "Copy what is to be handed over into a variable on the stack, and give its address.",
        ),
    ),
    (
        r"leaks addr|R0 leaks",
        Explanation(
            "An address of the kernel's would be shown to who may not know it.",
            "Run with CAP_PERFMON, or do not write pointers to maps, nor return them.",
        ),
    ),
    (
        r"unreachable insn|jump out of range|last insn is not an exit",
        Explanation(
            "The instructions do not make a whole program: some are never reached, or it runs off its end.",
            "End every path with a return.",
        ),
    ),
)


def explain_message(reason: str) -> Explanation | None:
    """Explain a message of the verifier; None if no rule matches."""
    for pattern, verdict in _RULES:
        if re.search(pattern, reason):
            return verdict
    return None
