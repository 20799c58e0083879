"""Signals by name, and the option that chooses among them."""

from pytracer.spec.options import NameSet

_STANDARD = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN "
    "TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
_REAL_TIME = ("SIGRTMIN", *(f"SIGRTMIN+{n}" for n in range(1, 30)), "SIGRTMAX")

SIGNALS = (
    "signal_0",
    *(f"SIG{name}" for name in _STANDARD.split()),
    "signal_32",  # the C library keeps these two for itself
    "signal_33",
    *_REAL_TIME,
)
"""The names of signals; each stands at the place of its number."""

ONLY_SIGNALS = NameSet(
    "signal",
    "only these signals ('SIGKILL,SIGTERM'), or all but these ('!SIGCHLD')",
    names=SIGNALS,
    map="pt_signals",
    define="ONLY_SIGNALS",
)
"""Filters signals: is_wanted in probes_c/sigsnoop.c."""
