"""Summarise verifier logs: the reason of a refusal, the line of C, the statistics."""

from __future__ import annotations

import os
import re

from pytracer.record import record

_SOURCE = re.compile(r"^; (?P<text>.*?)(?: @ (?P<file>[^ ]+):(?P<line>\d+))?$")
_TRAILER = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|max_states|peak_states|mark_read|$)"
)
_STATE = re.compile(
    r"^(\d+: [\[(]|from \d+ to|\s*R\d+(_\w+)?=|\d+: R\d+(_\w+)?=|last_idx|regs=|parent |mark_precise|func#)"
)
# Linux 6.x writes this on the line of the instruction, if that is a jump, and two states after it.
_LOOP = re.compile(r"infinite loop detected at insn \d+$")
_LOOP_STATE = re.compile(r"^(cur|old) state:")
_NOISE = re.compile(r"^(bpf: Failed to load program|HINT:|If .* 'bpf_probe_read|The .* pointer)")


@record
class VerifierRefusal:
    """``reason``: the last message of the verifier. ``source``: its C line as far as the log names it:
    ``file:line: text``, ``file:line`` (BCC keeps no text), the text alone, or nothing."""

    reason: str
    source: str


def summarise(log: str) -> VerifierRefusal:
    """Return the last meaningful lines of a verifier log, and the C line before them."""
    source = ""
    reasons: list[str] = []
    for line in log.splitlines():
        match = _SOURCE.match(line)
        if match:
            location = f"{match['file']}:{match['line']}" if match["file"] else ""
            source = ": ".join(filter(None, (location, match["text"].strip())))
            reasons.clear()
        elif loop := _LOOP.search(line):
            reasons = [loop[0]]
        elif _STATE.match(line):
            reasons.clear()
        elif _LOOP_STATE.match(line):
            continue
        elif not _TRAILER.match(line) and not _NOISE.match(line):
            reasons.append(line.strip())
    return VerifierRefusal("; ".join(reasons[-2:]) or "no reason was given", source)


def last_lines(log: str, steps: int = 16) -> list[str]:
    """Return the last lines of a log up to the refusal, at most ``steps``, beginning with a line of C if
    there is one."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not _NOISE.match(line)]
    while lines and (_TRAILER.match(lines[-1]) or _LOOP_STATE.match(lines[-1])):
        lines.pop()
    last_steps = lines[-steps:]
    starts = [number for number, line in enumerate(last_steps) if line.startswith("; ")]
    return last_steps[starts[0] :] if starts and starts[0] < len(last_steps) // 2 else last_steps


@record
class VerifierStats:
    """The verifier's statistics on a program that passed; None if this kernel does not report them.

    ``processed`` instructions of at most ``limit``; ``total`` states were kept, ``peak`` at a time,
    ``per_instruction`` at most for one instruction. ``time`` is in us, ``stack`` the stack depth of each
    function (bytes).
    """

    processed: int | None = None
    limit: int | None = None
    per_instruction: int | None = None
    total: int | None = None
    peak: int | None = None
    time: int | None = None
    stack: tuple[int, ...] | None = None


_WORK = {
    "processed": re.compile(r"^processed (\d+) insns", re.M),
    "limit": re.compile(r"^processed .*\(limit (\d+)\)", re.M),
    "per_instruction": re.compile(r"^processed .*max_states_per_insn (\d+)", re.M),
    "total": re.compile(r"^processed .*total_states (\d+)", re.M),
    "peak": re.compile(r"^processed .*peak_states (\d+)", re.M),
    "time": re.compile(r"^verification time (\d+) usec", re.M),
}
_STACK = re.compile(r"^stack depth ([\d+]+)", re.M)


def parse_stats(log: str) -> VerifierStats:
    """Parse the statistics at the end of a log (BPF_LOG_STATS)."""
    matches = {name: pattern.findall(log) for name, pattern in _WORK.items()}
    stack = _STACK.findall(log)
    return VerifierStats(
        **{name: int(numbers[-1]) for name, numbers in matches.items() if numbers},
        stack=tuple(map(int, filter(None, stack[-1].split("+")))) if stack else None,
    )


def keep_log(program: str, log: str) -> str:
    """Write the whole log to a private file and return its name."""
    import tempfile

    handle, path = tempfile.mkstemp(prefix=f"pytracer-verifier-{program}-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.write(log)
    return path
