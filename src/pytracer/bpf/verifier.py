"""The verifier's refusal in a few words: what it said, about which line of C, and where the whole log is."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass

_SOURCE = re.compile(r"^; (?P<text>.*?)(?: @ (?P<file>[^ ]+):(?P<line>\d+))?$")
_TRAILER = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|max_states|peak_states|mark_read|$)"
)
_STATE = re.compile(
    r"^(\d+: [\[(]|from \d+ to|\s*R\d+(_\w+)?=|\d+: R\d+(_\w+)?=|last_idx|regs=|parent |mark_precise|func#)"
)
# Said on the line of the instruction, where that is a jump, and followed by two states (Linux 6.x).
_LOOP = re.compile(r"infinite loop detected at insn \d+$")
_LOOP_STATE = re.compile(r"^(cur|old) state:")
_NOISE = re.compile(r"^(bpf: Failed to load program|HINT:|If .* 'bpf_probe_read|The .* pointer)")


@dataclass(frozen=True)
class Refusal:
    """``reason``: the verifier's last words. ``source``: the C line they belong to, as far as the log names
    it: ``file:line: text``, ``file:line`` (BCC keeps no text), the text alone, or nothing."""

    reason: str
    source: str


def summarise(log: str) -> Refusal:
    """The last meaningful lines of a verifier log, and the C line before them."""
    source = ""
    reasons: list[str] = []
    for line in log.splitlines():
        match = _SOURCE.match(line)
        if match:
            place = f"{match['file']}:{match['line']}" if match["file"] else ""
            source = ": ".join(filter(None, (place, match["text"].strip())))
            reasons.clear()
        elif loop := _LOOP.search(line):
            reasons = [loop[0]]
        elif _STATE.match(line):
            reasons.clear()
        elif _LOOP_STATE.match(line):
            continue
        elif not _TRAILER.match(line) and not _NOISE.match(line):
            reasons.append(line.strip())
    return Refusal("; ".join(reasons[-2:]) or "no reason was given", source)


def keep_log(program: str, log: str) -> str:
    """Write the whole log to a private file and return its name."""
    handle, path = tempfile.mkstemp(prefix=f"pytracer-verifier-{program}-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.write(log)
    return path
