"""Find the restrictions of this process: capabilities, namespaces, and the kernel's policies.

Everything is read from the machine on demand, nothing at import. :func:`explain` turns a refusal of the
kernel into an error that names the reason and a remedy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path

from pytracer import inherited
from pytracer.errors import (
    NotPermittedError,
    PolicyError,
    PytracerError,
    ResourcesError,
    UnsupportedError,
)
from pytracer.kernel import mounts
from pytracer.record import record

PROC = Path("/proc")
SYS = Path("/sys")

CAPABILITIES = (  # include/uapi/linux/capability.h; the number of each is its place
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN",
    "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
LSM_PREFIX = "bpf_lsm_"
CONFIDENTIALITY = "confidentiality"
TRACING = ("CAP_BPF", "CAP_PERFMON")
"""The capabilities to load and attach a tracing program (Linux 5.8; before, CAP_SYS_ADMIN)."""

_STANDS_IN = {  # the kernel accepts the second where it asks for the first
    "CAP_BPF": "CAP_SYS_ADMIN",
    "CAP_PERFMON": "CAP_SYS_ADMIN",
    "CAP_CHECKPOINT_RESTORE": "CAP_SYS_ADMIN",
    "CAP_DAC_READ_SEARCH": "CAP_DAC_OVERRIDE",
}
_OF_THE_WHOLE_KERNEL = frozenset(
    {"CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYSLOG", "CAP_SYS_RESOURCE"}
)
_INITIAL = {"user": 0xEFFFFFFD, "pid": 0xEFFFFFFC}  # include/linux/proc_ns.h, PROC_*_INIT_INO
_SECCOMP = {"0": "off", "1": "strict", "2": "filter"}
ENOTSUPP = 524  # kernel-internal, but it gets out by mistake here and there
_WORDS = {
    ENOTSUPP: "Operation not supported",
    errno.EILSEQ: "the offset lies within an instruction",  # of kprobes (arch/x86/kernel/kprobes/core.c)
}
EXHAUSTED = {
    errno.EMFILE: "ulimit -n 1024",
    errno.ENFILE: "sysctl fs.file-max is the most that the machine has",
    errno.ENOMEM: "free memory, or raise the limit of the cgroup",
}
"""The errnos that say nothing about what the kernel has, with what helps."""

_ABSENT = frozenset({
    errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS, errno.E2BIG, errno.ENXIO,
    ENOTSUPP,
})  # fmt: skip
_MANDATORY = ("selinux", "apparmor", "smack", "tomoyo", "bpf")  # modules that can refuse a tracer to root
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


@record
class Policy:
    """The restrictions in force here. ``None`` and "" mean that this process cannot read them.

    ``capabilities`` are the effective ones. ``seccomp`` is off, strict or filter; ``lockdown``
    none, integrity or confidentiality. ``sysctls`` are by name, such as ``kernel.perf_event_paranoid``.
    """

    capabilities: frozenset[str]
    initial_user_namespace: bool | None
    initial_pid_namespace: bool | None
    seccomp: str
    lockdown: str
    lsms: tuple[str, ...] | None
    sysctls: dict[str, int | None]

    @property
    def refuses(self) -> list[str]:
        """The policies that may refuse a tracer with every capability, likeliest first."""
        reasons = []
        if self.seccomp in ("filter", "strict"):
            reasons.append("a seccomp filter on this process")
        if self.lockdown == CONFIDENTIALITY:
            reasons.append(f"lockdown={CONFIDENTIALITY}")
        modules = [name for name in self.lsms or () if name in _MANDATORY]
        if modules:
            reasons.append(f"security modules that can refuse ({', '.join(modules)})")
        if self.lockdown == "integrity":
            reasons.append("lockdown=integrity")
        # Distributions' own values above 2 ask for CAP_SYS_ADMIN where the kernel takes CAP_PERFMON.
        paranoid = self.sysctls.get("kernel.perf_event_paranoid") or 0
        if paranoid > 2 and "CAP_SYS_ADMIN" not in self.capabilities:
            reasons.append(f"kernel.perf_event_paranoid={paranoid}")
        return reasons

    @property
    def ruled_out(self) -> list[str]:
        """The restrictions that are not in force, or that cannot be read."""
        reasons = []
        if self.seccomp == "off":
            reasons.append("no seccomp filter")
        if self.lockdown == "none":
            reasons.append("no lockdown")
        elif not self.lockdown:
            reasons.append("lockdown cannot be seen")
        if self.lsms is None:
            reasons.append("security modules cannot be seen")
        elif not any(name in _MANDATORY for name in self.lsms):
            reasons.append("no security module that would")
        return reasons


SYSCTLS = (
    "kernel.unprivileged_bpf_disabled",
    "kernel.perf_event_paranoid",
    "kernel.kptr_restrict",
    "net.core.bpf_jit_enable",
)


def read_policy() -> Policy:
    """Read all restrictions. May enter a mount namespace, to read securityfs."""
    return Policy(
        capabilities=effective_capabilities(),
        initial_user_namespace=in_initial_namespace("user"),
        initial_pid_namespace=in_initial_namespace("pid"),
        seccomp=read_seccomp(),
        lockdown=read_lockdown(),
        lsms=read_lsms(),
        sysctls={name: read_sysctl(name) for name in SYSCTLS},
    )


def require_proc() -> None:
    """Raise UnsupportedError if /proc is not mounted, since all other checks read it."""
    if not Path("/proc/self").exists():
        raise UnsupportedError("/proc is not mounted", hint="mount -t proc proc /proc")


def effective_capabilities() -> frozenset[str]:
    """Return this process's effective capabilities by name; those too new to have one as ``CAP_<n>``."""
    require_proc()
    bits = int(_read_status("CapEff") or "0", 16)
    numbers = (number for number in range(bits.bit_length()) if bits >> number & 1)
    return frozenset(CAPABILITIES[n] if n < len(CAPABILITIES) else f"CAP_{n}" for n in numbers)


def missing_capabilities(capabilities: Iterable[str]) -> list[str]:
    """Return those of ``capabilities`` that this process lacks, by this kernel's names.

    If the kernel has no such capability yet, the older one that it checks instead is named. In a user
    namespace that is not the initial one, capabilities over the whole kernel count as missing.
    """
    have = effective_capabilities()
    if in_initial_namespace("user") is False:
        have -= _OF_THE_WHOLE_KERNEL
    last = _read_number(PROC / "sys/kernel/cap_last_cap")
    missing = []
    for name in capabilities:
        instead = _STANDS_IN.get(name, name)
        if name in have or instead in have:
            continue
        is_known = last is None or name not in CAPABILITIES or CAPABILITIES.index(name) <= last
        missing.append(name if is_known else instead)
    return list(dict.fromkeys(missing))


def require_capabilities(capabilities: Iterable[str], operation: str) -> None:
    """Raise NotPermittedError if this process lacks a capability that ``operation`` takes."""
    missing = missing_capabilities(capabilities)
    if missing:
        raise _make_missing_error(missing, operation)


def describe_errno(number: int) -> str:
    """Describe an errno of the kernel, also where libc's text does not fit."""
    return _WORDS.get(number) or os.strerror(number)


def explain(error: OSError, operation: str, *, capabilities: Iterable[str] = TRACING) -> PytracerError:
    """Convert a refusal by the kernel to an error that explains it.

    ``capabilities`` are the capabilities that ``operation`` takes. Without them a refusal is
    NotPermittedError, with them it is a policy's, PolicyError. An unknown command or type is an
    UnsupportedError, a lack of descriptors or memory ResourcesError, and the rest a plain PytracerError.
    """
    number = error.errno or 0
    if number in (errno.EPERM, errno.EACCES):
        missing = missing_capabilities(capabilities)
        return _make_missing_error(missing, operation) if missing else _make_policy_error(operation)
    if number == errno.ENOSYS and read_seccomp() == "filter":
        return _make_policy_error(operation)  # how newer container runtimes refuse
    if number in _ABSENT:
        return UnsupportedError(
            f"{operation}: this kernel does not have it ({describe_errno(number)})",
            hint="pytracer doctor shows what this kernel grants",
        )
    if number in EXHAUSTED:
        return ResourcesError(f"{operation}: {describe_errno(number)}", hint=EXHAUSTED[number])
    reason = describe_errno(number) if number else "the kernel gave no reason"
    return PytracerError(f"{operation}: {reason}")


def explain_refusal() -> str:
    """Explain a refusal in spite of all capabilities: the restrictions in force, or those ruled out."""
    if memlock := _explain_memlock():
        return f"refused, although this process has the capabilities; likely {memlock}"
    policy = read_policy()
    if suspects := policy.refuses:
        return (
            "refused by a policy of the kernel, although this process has the capabilities; "
            f"in force: {', '.join(suspects)}"
        )
    ruled_out = f" ({', '.join(policy.ruled_out)})" if policy.ruled_out else ""
    return f"refused by a policy of the kernel that does not show itself{ruled_out}"


def read_seccomp() -> str:
    """Return ``off``, ``strict`` or ``filter``; "" if it is not readable."""
    return _SECCOMP.get(_read_status("Seccomp"), "")


def read_lockdown() -> str:
    """Return ``none``, ``integrity`` or ``confidentiality``; "" if it is not readable."""
    match = re.search(r"\[(\w+)\]", _read_security("lockdown") or "")
    if match:
        return match[1]
    modules = read_lsms()
    return "none" if modules is not None and "lockdown" not in modules else ""


def is_confidential() -> bool:
    """Return whether lockdown withholds kernel memory, kprobes and trace events from everybody."""
    return read_lockdown() == CONFIDENTIALITY


def make_lockdown_error(operation: str) -> PolicyError:
    """Return the error for ``operation`` that lockdown=confidentiality withholds."""
    return PolicyError(
        f"{operation}: withheld by lockdown={CONFIDENTIALITY}",
        hint=f"boot without lockdown={CONFIDENTIALITY} (integrity does not withhold it); "
        "pytracer doctor shows what is left",
    )


def read_lsms() -> tuple[str, ...] | None:
    """Return the security modules in force, in order; None if they are not readable."""
    text = _read_security("lsm")
    return tuple(text.strip().split(",")) if text and text.strip() else None


def read_sysctl(name: str) -> int | None:
    """Return the value of a numeric sysctl such as ``kernel.kptr_restrict``; None if it is missing or
    hidden."""
    return _read_number(PROC / "sys" / name.replace(".", "/"))


def shows_addresses(sysctls: Mapping[str, int | None]) -> bool | None:
    """Return whether the kernel shows its addresses to all (True), with CAP_SYSLOG (None) or to nobody.

    kallsyms_show_value() asks for CAP_SYSLOG also where kptr_restrict is 0, unless perf_event_paranoid lets
    everybody profile the kernel.
    """
    restrict, paranoid = sysctls.get("kernel.kptr_restrict"), sysctls.get("kernel.perf_event_paranoid")
    if restrict is not None and restrict > 1:
        return False
    return True if restrict == 0 and paranoid is not None and paranoid <= 1 else None


def unused_lsm_hook(function: str) -> str:
    """Explain why a function ``bpf_lsm_*`` is never called here; "" for any other, or if it is called.

    The kernel calls these functions only if bpf is among the security modules in force.
    """
    if not function.startswith(LSM_PREFIX):
        return ""
    modules = read_lsms()
    if modules is None or "bpf" in modules:
        return ""
    return f"bpf is not among the security modules in force ({', '.join(modules)}): boot with lsm=...,bpf"


def raise_memlock() -> None:
    """Raise the limit on locked memory as far as this process may.

    Kernels before 5.11 charge maps and programs to the user's locked memory, and refuse with EPERM what
    exceeds the limit (commonly 64 KiB); later ones charge them to the cgroup. The limit is raised on both:
    it costs nothing, and nothing tells the two apart.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (hard, hard)):
        with contextlib.suppress(OSError, ValueError):
            inherited.raise_limit(resource.RLIMIT_MEMLOCK, *limit)
            return


def in_initial_namespace(kind: str) -> bool | None:
    """Return whether this process is in the initial ``user`` or ``pid`` namespace; None if hidden."""
    try:
        return (PROC / "self/ns" / kind).stat().st_ino == _INITIAL[kind]
    except OSError:
        return None


def in_container() -> bool:
    """Return whether this process seems to run in a container, as far as it can see from inside."""
    return any(mark.exists() for mark in _CONTAINER_MARKS) or in_initial_namespace("pid") is False


def suggest_capabilities(capabilities: Iterable[str]) -> str:
    """Suggest how to give this process these capabilities."""
    if in_initial_namespace("user") is False:
        return "run it outside of this user namespace (rootless container, unshare -U), with sudo"
    flags = " ".join(f"--cap-add={name.removeprefix('CAP_')}" for name in capabilities)
    if os.geteuid() != 0:
        return f"run it with sudo (a container has to be started with {flags})"
    if in_container():
        return f"start the container with {flags}, or with --privileged; or run pytracer on the host"
    return (
        "this root was started without them (capsh --print shows what is left): look for "
        f"CapabilityBoundingSet= of a service, or for a container that wants {flags}"
    )


def _make_missing_error(missing: list[str], operation: str) -> NotPermittedError:
    names, lacks = " and ".join(missing), "which this process does not have"
    if in_initial_namespace("user") is False and effective_capabilities().issuperset(missing):
        lacks = "and this process has them in a user namespace only"
    return NotPermittedError(f"{operation} needs {names}, {lacks}", hint=suggest_capabilities(missing))


def _make_policy_error(operation: str) -> PolicyError:
    return PolicyError(
        f"{operation}: {explain_refusal()}",
        hint="pytracer doctor shows what is in force, and what this kernel grants",
    )


def _explain_memlock() -> str:
    """Explain the limit on locked memory, if the kernel refuses maps and programs beyond it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    # The version, for want of a trace of the change (bdb7b79b4ce8) that could be looked at for free.
    if soft == resource.RLIM_INFINITY or numbers is None or (int(numbers[1]), int(numbers[2])) >= (5, 11):
        return ""
    return f"RLIMIT_MEMLOCK ({soft // 1024} KiB) is too low"


def _read_status(field: str) -> str:
    """Read a field of this process's status; "" if it is missing."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        match = re.search(rf"^{field}:\s*(\S+)", (PROC / "self/status").read_text(), re.M)
        return match[1] if match else ""
    return ""


def _read_security(name: str) -> str | None:
    """Read a file of securityfs, which is mounted privately if the machine has not mounted it."""
    path = SYS / "kernel/security" / name
    if not path.exists():
        with contextlib.suppress(OSError):
            mounts.ensure_mounted(mounts.SECURITYFS, path.parent)
    with contextlib.suppress(OSError):
        return path.read_text()
    return None


def _read_number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None
