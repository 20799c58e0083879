"""Read a kernel's console, and determine the result of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.errors import CRASHED, FAILED, TIMEOUT

STAMP = r"^(?:<\d+>)?(?:\[[ \d.]+\](?:\[[ TC\d]+\])? ?)?"
CRASH = re.compile(
    STAMP
    + r"(Kernel panic - not syncing.*|(?:Internal error: )?Oops\b.*|BUG: (?!workqueue|soft lockup).*"
    + r"|kernel BUG at .*|general protection fault.*|[Uu]nable to handle kernel .*|double fault:.*"
    + r"|stack segment:.*|invalid opcode:.*)",
    re.M,
)
HANG = re.compile(
    STAMP
    + r"(.*(?:soft lockup|hard LOCKUP|blocked for more than \d+ seconds|detected (?:expedited )?stalls).*)",
    re.M,
)
WARNING = re.compile(STAMP + r"(WARNING: (?:CPU|possible|suspicious|inconsistent|\S+:\d+ at).*)", re.M)
OUR_FAILURE = re.compile(r"^lab-guest: (.*)$", re.M)
NOT_SHOWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\t\n\x20-\x7e]")


def readable(raw: bytes) -> str:
    """Decode a console's bytes: usual line ends, and no control characters."""
    return NOT_SHOWN.sub("", raw.decode("ascii", "replace").replace("\r\n", "\n"))


def last_lines(text: str, count: int = 20) -> str:
    """Return the last non-empty lines, indented to distinguish them from the lab's own."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"  | {line}" for line in lines[-count:])


def crash(text: str) -> str | None:
    """Return the line that shows why the kernel crashed: the first bug or oops, and the panic's reason."""
    messages = [match.group(1).strip() for match in CRASH.finditer(text)]
    if not messages:
        return None
    panic = next((line for line in messages if line.startswith("Kernel panic")), None)
    return messages[0] if panic in (None, messages[0]) else f"{messages[0]} ({panic})"


def hang(text: str) -> str | None:
    """Return the kernel's last message about something that hangs."""
    messages = [match.group(1).strip() for match in HANG.finditer(text)]
    return messages[-1] if messages else None


def warning(text: str) -> str | None:
    """Return the first warning with a stack that the kernel logged without dying of it."""
    match = WARNING.search(text)
    return match.group(1).strip() if match else None


@dataclass(frozen=True)
class Verdict:
    """The result of a run: the lab's exit status, and a message if it is not the command's own."""

    status: int
    message: str = ""
    show_console: bool = False
    retry: bool = False
    """The kernel crashed before the command began: not the command's doing."""


def judge(
    text: str, *, status: int | None, has_started: bool, failure: str = "", out_of_time: float = 0
) -> Verdict:
    """Determine the result of a run from the command's status, the guest's failure, the time and the
    console."""
    if status is not None:
        note = warning(text)
        return Verdict(status, f"note: the kernel warned: {note}" if note else "")
    crashed = crash(text)
    if crashed:
        moment = "while the command ran" if has_started else "before the command started"
        return Verdict(CRASHED, f"kernel crash {moment}: {crashed}", True, retry=not has_started)
    own_failure = OUR_FAILURE.search(text)
    failure = failure or (own_failure.group(1) if own_failure else "")
    if failure:
        return Verdict(FAILED, f"the guest could not be set up: {failure}", True)
    stuck = hang(text)
    reason = f" (the kernel says: {stuck})" if stuck else ""
    if out_of_time and has_started:
        return Verdict(TIMEOUT, f"time limit: the command did not end within {out_of_time:g} s{reason}", True)
    if out_of_time:
        return Verdict(FAILED, f"the VM did not come up within {out_of_time:g} s{reason}", True)
    moment = "before the command started" if not has_started else "while the command ran"
    return Verdict(FAILED, f"the VM was lost {moment}: it ended without a result", True)
