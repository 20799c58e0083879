"""Hooks: the events that a tracer attaches to, as ranked alternatives.

A :class:`Hook` is one thing a tracer must see ("a system call begins and ends"); its alternatives are the
kernel's ways to see it, best first. The planner takes the first that this kernel supports, and passes the
choice to the C as ``-DHOOK_<HOOK>_<ALTERNATIVE>``.
"""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.points import Point


@record
class Probe:
    """One attachment of one C function, ``program``. ``optional`` ones are skipped if unsupported, those
    with a ``when`` unless the flag of that name is given. ``targets`` are the numbers of the command line's
    targets that this attachment is for, ``at`` is the point at which it then runs."""

    program: str
    optional: bool = False
    when: str = ""
    targets: tuple[int, ...] = ()
    at: Point = Point.OTHER

    @property
    def kind(self) -> str:
        """The name of the file in ``bpf/attach`` that attaches it."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """The attach target, as the plan prints it."""
        raise NotImplementedError

    @property
    def needs(self) -> tuple[str, ...]:
        """The capabilities that the probe takes."""
        return ("CAP_BPF", "CAP_PERFMON")

    @property
    def choice(self) -> str:
        """The name of the :class:`~pytracer.spec.Choice` that says more of the place; "" for none."""
        return ""


@record
class RawTracepoint(Probe):
    """A tracepoint's raw arguments, before the trace event formats them.

    ``arguments`` is the minimum number of arguments, which tells forms of an event apart; if that is
    ``exact``, a form with more has others in their places, and is refused. ``preempted`` is true if it
    matters that a program there may be preempted (bpf/attach/raw_tracepoint.py); it does not if the event is
    raised with interrupts off, or if its trace event would lose more.
    """

    event: str = ""
    arguments: int = 0
    exact: bool = False
    preempted: bool = True

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "raw_tracepoint"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.event


@record
class Tracepoint(Probe):
    """A trace event as tracefs lists it: ``category:event``."""

    category: str = ""
    event: str = ""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "tracepoint"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return f"{self.category}:{self.event}"


@record
class Kprobe(Probe):
    """The entry of a kernel function, or ``offset`` bytes behind it; ``symbols`` are all names it has had,
    newest first. ``address`` distinguishes functions with that name (0: there is only one)."""

    symbols: tuple[str, ...] = ()
    offset: int = 0
    address: int = 0

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kprobe"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "|".join(self.symbols) + (f"+{self.offset:#x}" if self.offset else "")


@record
class Kretprobe(Kprobe):
    """The return of a kernel function."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kretprobe"


@record
class Override(Kprobe):
    """The entry of the kernel function that the command line names, which the program may keep from running
    (if it was built for that)."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "override"


@record
class Kprobes(Probe):
    """The entries of many kernel functions at once; in ``patterns`` a ``*`` matches letters, digits and
    ``_``. A function with several names is probed once. Or the functions at ``addresses``, which
    ``patterns`` describe."""

    patterns: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return "|".join(self.patterns)


@record
class KprobeMulti(Kprobes):
    """The entries of many kernel functions, by one link."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kprobe_multi"


@record
class KretprobeMulti(Kprobes):
    """The returns of many functions by one link that counts those it misses."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kretprobe_multi"


@record
class KprobeEvents(Kprobes):
    """The entries of many kernel functions, by one trace event that is made for them in tracefs."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kprobe_events"


@record
class KretprobeEvent(Kprobe):
    """The return of a kernel function, by a trace event that is made for it in tracefs."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "kretprobe_event"


@record
class Fentry(Probe):
    """The entry of a kernel function that BTF knows, by a trampoline. ``preempted``: see
    :class:`RawTracepoint`."""

    function: str = ""
    preempted: bool = False

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "fentry"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.function


@record
class Fexit(Fentry):
    """The return of a kernel function that BTF knows, by a trampoline."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "fexit"


@record
class ModifyReturn(Fentry):
    """The entry of a kernel function that BTF knows; the function does not run if the program returns an
    error instead of 0. Without ``function`` it is the one that the command line names."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "modify_return"


@record
class Lsm(Fentry):
    """An LSM hook, such as ``file_open``: the program returns an error or 0, like a security module."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "lsm"


@record
class SyscallFilter(Probe):
    """A filter of system calls that the command gets before it executes: ``call`` fails there. It has no
    program. ``notifies``: it leaves each call to a process of ours, which decides and counts. ``obstacle``
    says why it does not suit the request; "" if it does."""

    call: str = ""
    notifies: bool = False
    obstacle: str = ""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "seccomp"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.call

    @property
    def needs(self) -> tuple[str, ...]:
        """See :class:`Probe`."""
        return ()


@record
class TypedTracepoint(Fentry):
    """A tracepoint whose arguments have the types of BTF."""

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "typed_tracepoint"


@record
class Iterator(Probe):
    """An iterator over all objects of a kind (``of``: ``task_file``), which runs when it is read.

    ``having`` is a member (``struct.member``) without which the program is not for this kernel. Unless it
    lists, it runs once, when the other programs are attached; if it is ``repeated``, also at the end of each
    interval, and when they are detached.
    """

    of: str = ""
    having: str = ""
    repeated: bool = False

    @property
    def kind(self) -> str:
        """See :class:`Probe`."""
        return "iterator"

    @property
    def target(self) -> str:
        """See :class:`Probe`."""
        return self.of


@record
class Alternative:
    """One way to implement a hook. ``defines`` are further macros that it needs in the C.

    Names with the same part before ``-`` are a family: ``kprobe-multi`` and ``kprobe-events`` are both
    ``kprobe``. If ``uniform``, the probes are many of one kind: the kernel's answer about the first holds
    for all. An alternative with a ``risk`` to the traced programs is used only if the user asks for it; the
    text names the risk. The hooks ``without`` are not needed with it: of these, the alternative ``none`` is
    chosen.
    """

    name: str
    probes: tuple[Probe, ...]
    defines: tuple[str, ...] = ()
    uniform: bool = False
    risk: str = ""
    without: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        """Return whether this is its name, or that of its family."""
        return self.name == name or self.name.startswith(f"{name}-")


@record
class Hook:
    """One thing that must be seen; ``what`` completes the sentence 'this kernel has no way to see ...'.

    ``unless`` names the flag with which it need not be.
    """

    name: str
    what: str
    alternatives: tuple[Alternative, ...]
    unless: str = ""

    def alternatives_named(self, name: str) -> tuple[Alternative, ...]:
        """Return the alternative with this name, or else those of the family."""
        exact_matches = tuple(alternative for alternative in self.alternatives if alternative.name == name)
        return exact_matches or tuple(
            alternative for alternative in self.alternatives if alternative.is_called(name)
        )

    def define(self, alternative: Alternative) -> str:
        """Return the macro that selects an alternative in the C."""
        return f"HOOK_{self.name}_{alternative.name}".upper().replace("-", "_")
