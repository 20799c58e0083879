"""Compile a profile to the filter that the kernel runs before every system call of the command.

The filter reads a ``struct seccomp_data`` (include/uapi/linux/seccomp.h), in this machine's byte order::

    s32 nr   u32 arch   u64 instruction_pointer   u64 args[6]

It checks the architecture first, since the same number is another call in another ABI. (A bit of the number
alone marks x32.) Then it searches for the number among ranges with the same action, by bisection.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from pytracer.bpf.asm.classic import ClassicAssembler
from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel import syscalls
from pytracer.kernel.syscall_filter import ALLOW, LOG, USER_NOTIFICATION
from pytracer.kernel.syscalls import X32_BIT
from pytracer.request import Condition
from pytracer.seccomp.oci_profile import Rule, SeccompProfileRules

_NUMBER, _ARCH, _ARGS = 0, 4, 16
_LOW, _HIGH = (0, 4) if sys.byteorder == "little" else (4, 0)
_NARROW = ("i386", "x32", "arm")  # only the lower half of an argument counts, as libseccomp has it
_NO_CALL = 0xFFFFFFFF  # what a tracer puts in the place of a call that is not to be made

_Answer = int | tuple[Rule, ...]
"""The decision for a call: an action, or the rules that check its arguments, of which the first match
counts."""


def build(profile: SeccompProfileRules) -> bytes:
    """Build the filter: ``struct sock_filter``, 8 bytes each.

    Calls by an ABI that the profile does not name get its action for these. Raises UsageError if rules
    contradict each other or no command could be executed, BuildError if it would be too long,
    UnsupportedError on a machine whose system calls have no known names.
    """
    machine = os.uname().machine
    if machine not in syscalls.AUDIT or not syscalls.have_names():
        raise UnsupportedError(
            f"the numbers of system calls are not known here ({machine})", hint="libseccomp2 knows them"
        )
    answers = {abi: _decide_calls(profile, abi) for abi in profile.abis}
    if not _may(answers[machine].get(syscalls.number_of(machine, "execve") or 0, profile.default)):
        raise UsageError("it lets no command be started", hint="execve is to be allowed")
    code = ClassicAssembler()
    code.load(_ARCH)
    others = [abi for abi in profile.abis if abi not in (machine, "x32")]
    for abi in (machine, *others):
        code.jump_if("==", syscalls.AUDIT[abi], abi)
    code.ret(profile.other_abis)
    for abi in (machine, *others):
        code.label(abi)
        code.load(_NUMBER)
        table = dict(answers[abi])
        range_ends: dict[int, _Answer] = {}
        if abi == "x86_64":
            if "x32" in profile.abis:
                table |= {number | X32_BIT: answer for number, answer in answers["x32"].items()}
            else:
                range_ends = {X32_BIT: profile.other_abis, _NO_CALL: profile.default}
        _Search(code, abi, profile.default).emit(_make_ranges(table, range_ends, profile.default))
    return code.assemble()


def _may(answer: _Answer) -> bool:
    """Return whether a call can be allowed."""
    return any(action in (ALLOW, LOG, USER_NOTIFICATION) for action in _iter_actions(answer))


def _iter_actions(answer: _Answer) -> Iterable[int]:
    return (rule.action for rule in answer) if isinstance(answer, tuple) else (answer,)


def _decide_calls(profile: SeccompProfileRules, abi: str) -> dict[int, _Answer]:
    """Return the decisions for an ABI's calls that have rules, by number."""
    rules: dict[int, list[Rule]] = {}
    for rule in profile.rules:
        number = syscalls.number_of(abi, rule.call)
        if number is not None:
            rules.setdefault(number, []).append(rule)
        multiplexer = syscalls.sub_call(abi, rule.call)
        # The arguments of a sub-call are in memory, where no filter can look.
        if multiplexer is not None and not rule.conditions:
            rules.setdefault(multiplexer[0], []).append(
                Rule(rule.call, rule.action, (Condition(0, "==", multiplexer[1]),))
            )
    return {number: _decide_call(found) for number, found in rules.items()}


def _decide_call(rules: list[Rule]) -> _Answer:
    """Combine all rules for one call. Raises UsageError if they contradict each other."""
    conditional = tuple(dict.fromkeys(rule for rule in rules if rule.conditions))
    unconditional = [rule for rule in rules if not rule.conditions]
    for rule in unconditional:
        # libseccomp takes the one, readers the other. (A sub-call has a name of its own: it comes first.)
        if any(
            other.action != rule.action
            for other in (*unconditional, *(r for r in conditional if r.call == rule.call))
        ):
            raise UsageError(f"the rules for {rule.call} contradict each other: one has no conditions")
    if not unconditional:
        return conditional
    last = unconditional[0]
    return last.action if all(rule.action == last.action for rule in conditional) else (*conditional, last)


def _make_ranges(
    table: dict[int, _Answer], range_ends: dict[int, _Answer], default: int
) -> list[tuple[int, _Answer]]:
    """Yield (first number, answer), from 0 on; each holds up to the next. ``range_ends`` do so, too."""
    edges: dict[int, _Answer] = {0: default}
    for number in sorted(table):
        edges[number] = table[number]
        edges.setdefault(number + 1, default)
        if number + 1 in table:
            edges[number + 1] = table[number + 1]
    edges |= range_ends
    ranges: list[tuple[int, _Answer]] = []
    for number in sorted(edges):
        if not ranges or ranges[-1][1] != edges[number]:
            ranges.append((number, edges[number]))
    return ranges


class _Search:
    """The part of the filter for one architecture; the number is in A."""

    def __init__(self, code: ClassicAssembler, abi: str, default: int) -> None:
        self._code = code
        self._abi = abi
        self._default = default
        self._labels = 0
        self._ends: dict[int, str] = {}  # the labels of actions: they stand behind all questions, once each

    def emit(self, ranges: list[tuple[int, _Answer]]) -> None:
        """Emit the program: the action for each number."""
        if len(ranges) == 1 and isinstance(ranges[0][1], int):
            self._code.ret(ranges[0][1])
            return
        self._halve(ranges)
        for action, label in self._ends.items():
            self._code.label(label)
            self._code.ret(action)

    def _halve(self, ranges: list[tuple[int, _Answer]]) -> None:
        number, answer = ranges[0]
        if len(ranges) == 1:
            assert isinstance(answer, tuple)
            self._emit_rules(number, answer)
            return
        middle = len(ranges) // 2
        parts = ranges[:middle], ranges[middle:]
        lower_label, upper_label = (self._end(part[0][1]) if len(part) == 1 else "" for part in parts)
        upper = upper_label or self._label()
        self._code.jump_if(">=", parts[1][0][0], upper, lower_label)
        if not lower_label:
            self._halve(parts[0])
        if not upper_label:
            self._code.label(upper)
            self._halve(parts[1])

    def _end(self, answer: _Answer) -> str:
        """Return the label of an action; "" if it depends on arguments."""
        return self._ends.setdefault(answer, self._label()) if isinstance(answer, int) else ""

    def _emit_rules(self, number: int, rules: tuple[Rule, ...]) -> None:
        is_32_bit = ("x32" if self._abi == "x86_64" and number & X32_BIT else self._abi) in _NARROW
        for rule in rules:
            following = self._label()
            for condition in rule.conditions:
                self._emit_condition(condition, following, is_32_bit=is_32_bit)
            self._code.ret(rule.action)
            self._code.label(following)
        self._code.ret(self._default)

    def _emit_condition(self, condition: Condition, other: str, *, is_32_bit: bool) -> None:
        """Fall through to the next instruction if the condition holds; else jump to ``other``."""
        holds, offset = self._label(), _ARGS + 8 * condition.index
        operation, pass_label, fail_label = condition.operation, holds, other
        if operation in ("!=", "<", "<="):  # the opposite of another
            operation = {"!=": "==", "<": ">=", "<=": ">"}[operation]
            pass_label, fail_label = fail_label, pass_label
        if not is_32_bit:
            self._load(offset + _HIGH, condition.mask >> 32)
            high = condition.value >> 32
            if operation != "==":
                self._code.jump_if(">", high, pass_label)
            self._code.jump_if("==", high, "", fail_label)
        self._load(offset + _LOW, condition.mask & 0xFFFFFFFF)
        self._code.jump_if(operation, condition.value & 0xFFFFFFFF, pass_label, fail_label)
        self._code.label(holds)

    def _load(self, offset: int, mask: int) -> None:
        self._code.load(offset)
        if mask != 0xFFFFFFFF:
            self._code.alu("&=", mask)

    def _label(self) -> str:
        self._labels += 1
        return f"{self._abi}.{self._labels}"
