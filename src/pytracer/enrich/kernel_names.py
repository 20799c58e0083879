"""Names of numbers that the kernel's own tables have: softirqs, capabilities, signals, their codes."""

from __future__ import annotations

import signal

# include/linux/interrupt.h; /proc/softirqs has them in this order.
_SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")
_SIGNALS = {int(number): number.name for number in signal.Signals}
# include/uapi/linux/capability.h, in the order of their numbers
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
# include/uapi/asm-generic/siginfo.h: codes of every signal, and those that mean something for one alone.
_CODES = {
    0: "SI_USER", 0x80: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -4: "SI_ASYNCIO",
    -5: "SI_SIGIO", -6: "SI_TKILL", -7: "SI_DETHREAD", -60: "SI_ASYNCNL",
}  # fmt: skip
_CODES_OF = {
    "ILL": ("OPC", "OPN", "ADR", "TRP", "PRV", "REG", "COPROC", "BADSTK"),
    "FPE": ("INTDIV", "INTOVF", "FLTDIV", "FLTOVF", "FLTUND", "FLTRES", "FLTINV", "FLTSUB"),
    "SEGV": (
        "MAPERR",
        "ACCERR",
        "BNDERR",
        "PKUERR",
        "ACCADI",
        "ADIDERR",
        "ADIPERR",
        "MTEAERR",
        "MTESERR",
        "CPERR",
    ),
    "BUS": ("ADRALN", "ADRERR", "OBJERR", "MCEERR_AR", "MCEERR_AO"),
    "TRAP": ("BRKPT", "TRACE", "BRANCH", "HWBKPT", "UNK", "PERF"),
    "CLD": ("EXITED", "KILLED", "DUMPED", "TRAPPED", "STOPPED", "CONTINUED"),
    "POLL": ("IN", "OUT", "MSG", "ERR", "PRI", "HUP"),
    "SYS": ("SECCOMP", "USER_DISPATCH"),
}
_CODES_AS = {"CHLD": "CLD", "IO": "POLL"}
# enum of include/trace/events/signal.h, and after it what probes_c/sigsnoop.c sees on delivery.
_RESULTS = ("sent", "ignored", "pending", "overflow", "no_info", "default", "handler", "dropped")


def capability_name(number: int) -> str:
    """Decode a capability: ``21`` -> ``CAP_SYS_ADMIN``; ``capability_N`` if it has no name."""
    return f"CAP_{_CAPABILITIES[number]}" if number < len(_CAPABILITIES) else f"capability_{number}"


def signal_code(signal_and_code: int) -> str:
    """Decode a signal's code: ``SEGV_MAPERR``; it is in the lower 32 bits, the signal above; ``code_N`` if
    unnamed."""
    code = (signal_and_code & 0xFFFFFFFF) - (1 << 32 if signal_and_code & 0x80000000 else 0)
    if code in _CODES:
        return _CODES[code]
    short_name = signal_name(signal_and_code >> 32).removeprefix("SIG")
    prefix = _CODES_AS.get(short_name, short_name)
    names = _CODES_OF.get(prefix, ())
    return f"{prefix}_{names[code - 1]}" if 0 < code <= len(names) else f"code_{code}"


def signal_result(number: int) -> str:
    """Decode the result of sending a signal: ``pending``; ``result_N`` if the number has no name."""
    return _RESULTS[number] if number < len(_RESULTS) else f"result_{number}"


def softirq_name(vector: int) -> str:
    """Decode a softirq vector: ``3`` -> ``NET_RX``; ``softirq_N`` if it has no name."""
    return _SOFTIRQS[vector] if vector < len(_SOFTIRQS) else f"softirq_{vector}"


def signal_name(number: int) -> str:
    """Decode a signal: ``9`` -> ``SIGKILL``, ``35`` -> ``SIGRTMIN+1``; ``signal_N`` if it has no name."""
    if number in _SIGNALS:
        return _SIGNALS[number]
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return f"signal_{number}"
