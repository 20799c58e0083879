"""Check what this machine supports and lacks, and how to fix it: ``pytracer doctor``.

The checks change nothing (except that they create the cache folder): missing file systems are mounted in a
mount namespace of this process, programs and attachments exist for a moment. Without root some checks
cannot run; their status is unknown.
"""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pytracer.bpf import toolchain
from pytracer.bpf.compile import shared_libraries
from pytracer.bpf.compile.headers import packaged
from pytracer.bpf.sys import Command, bpf
from pytracer.errors import CacheError, PytracerError, ToolchainError, UnsupportedError
from pytracer.features import feature_table
from pytracer.kernel import btf, distro, kconfig, mounts, policy, syscalls, tracefs
from pytracer.record import record

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"
LOCKDOWN, CAPABILITIES = "lockdown", "capabilities"
"""The names of the checks that say what lockdown forbids, and which capabilities this process lacks."""

LIBRARIES = ("/usr/lib/*-linux-gnu*", "/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib")
_PACKAGES = ("numpy", "psutil", "pyelftools", "pyroute2", "tabulate")
_SECCOMP_PACKAGES = {
    "apt-get": "libseccomp2",
    "dnf": "libseccomp",
    "zypper": "libseccomp2",
    "pacman": "libseccomp",
}
_HIDDEN = "cannot be seen"
WITHHELD = "programs cannot read kernel memory, and there are no kprobes and trace events"
# Any one of these is enough for some tracer to run.
_TRACING_HOOKS = ("raw tracepoint", "tracepoint", "kprobe", "uprobe", "perf event", "socket filter")


@record
class Check:
    """The result of one check. ``status`` is ok, warn, fail or unknown; only fail means that nothing can
    run here.

    ``found`` describes the state, ``fix`` a remedy ("" if none is needed or known).
    """

    group: str
    name: str
    status: str
    found: str
    fix: str = ""


@record
class Report:
    """All checks, and the BPF features one by one."""

    checks: tuple[Check, ...]
    features: tuple[feature_table.ProbeResult, ...]

    @property
    def can_run(self) -> bool:
        """True if any tracer can run here, as far as the checks could see."""
        return all(check.status != FAIL for check in self.checks)


def examine() -> Report:
    """Look at everything; about half a second as root, most of it the kernel's grace periods."""
    mounted = {
        "tracefs": mounts.is_mounted(mounts.TRACEFS, tracefs.TRACING),
        "debugfs": mounts.is_mounted(mounts.DEBUGFS, tracefs.DEBUG),
    }
    results = tuple(feature_table.probe_all())
    checks = [
        *_check_kernel(),
        *_describe_types(),
        *_describe_policies(),
        *_check_mounts(mounted),
        *_describe_compiler(),
        *_check_python(),
        *_describe_leftovers(),
    ]
    return Report((*checks, _summarize(results)), results)


def _check_kernel() -> Iterator[Check]:
    system = os.uname()
    yield Check("kernel", "version", OK, f"Linux {system.release} ({system.version})")
    problem = _explain_no_bpf()
    text = f"{system.machine}: {problem}" if problem else system.machine
    yield Check("kernel", "architecture", FAIL if problem else OK, text)
    yield _describe_jit()
    initial = policy.in_initial_namespace("pid")
    texts = {
        True: "the machine's own",
        False: "a container's: the process ids shown are not those of ps in here",
        None: _HIDDEN,
    }
    yield Check("kernel", "PID namespace", {True: OK, False: WARN, None: UNKNOWN}[initial], texts[initial])


def _explain_no_bpf() -> str:
    """Explain why bpf(2) cannot be called here; "" if it can."""
    try:
        bpf(Command.PROG_LOAD, b"")  # refused in any case: no type, no instructions
    except UnsupportedError as problem:
        return problem.message
    except OSError as error:
        return "this kernel has no bpf(2) (CONFIG_BPF_SYSCALL)" if error.errno == errno.ENOSYS else ""
    return ""


def _describe_jit() -> Check:
    is_always_on = kconfig.option("BPF_JIT_ALWAYS_ON") == "y"
    value = policy.read_sysctl("net.core.bpf_jit_enable")
    if is_always_on or value:
        return Check(
            "kernel", "BPF JIT", OK, "always on (the kernel has no interpreter)" if is_always_on else "on"
        )
    if value is None:
        return Check("kernel", "BPF JIT", UNKNOWN, "net.core.bpf_jit_enable is for root to read")
    fix = "sudo sysctl net.core.bpf_jit_enable=1"
    return Check("kernel", "BPF JIT", WARN, "off: every program is interpreted, several times slower", fix)


def _describe_types() -> Iterator[Check]:
    """Check for kernel types: one of the three sources is enough."""
    build = packaged.MODULES / os.uname().release / "build"
    present = btf.VMLINUX.exists(), build.is_dir(), packaged.KHEADERS.exists()
    missing = OK if any(present) else FAIL
    fix = "" if any(present) else packaged.install_hint()
    texts = (
        ("BTF", str(btf.VMLINUX), "none (CONFIG_DEBUG_INFO_BTF)"),
        ("header package", str(build), "none"),
        ("kheaders", str(packaged.KHEADERS), "none (CONFIG_IKHEADERS)"),
    )
    for (name, location, fallback), is_present in zip(texts, present, strict=True):
        note = ", and not needed" if any(present) else ""
        status = OK if is_present else missing
        yield Check(
            "kernel types",
            name,
            status,
            location if is_present else fallback + note,
            "" if is_present else fix,
        )


def _describe_policies() -> Iterator[Check]:
    policy_state = policy.read_policy()
    missing = policy.missing_capabilities((*policy.TRACING, "CAP_NET_RAW", "CAP_SYS_ADMIN"))
    text = f"lacks {', '.join(missing)}" if missing else "all that tracing takes"
    fix = policy.suggest_capabilities(missing) if missing else ""
    yield Check("policy", CAPABILITIES, WARN if missing else OK, text, fix)
    if policy_state.initial_user_namespace is False:
        yield Check("policy", "user namespace", WARN, "not the machine's own: its root is not the kernel's")
    filtered = policy_state.seccomp in ("filter", "strict")
    yield Check(
        "policy",
        "seccomp",
        WARN if filtered else OK if policy_state.seccomp else UNKNOWN,
        policy_state.seccomp or _HIDDEN,
        "a container's default profile refuses bpf(2) unless it is given the capabilities"
        if filtered
        else "",
    )
    yield _check_lockdown(policy_state.lockdown)
    modules = policy_state.lsms
    yield Check("policy", "security modules", OK if modules else UNKNOWN, ", ".join(modules or ()) or _HIDDEN)
    for name, number in policy_state.sysctls.items():
        if name != "net.core.bpf_jit_enable":  # has a line of its own
            value_text = (
                _HIDDEN
                if number is None
                else f"{number}: {_explain_sysctl(name, number, policy_state.sysctls)}"
            )
            yield Check("policy", name, UNKNOWN if number is None else OK, value_text)


def _check_lockdown(state: str) -> Check:
    says = {
        "none": (OK, "none"),
        "integrity": (OK, "integrity: programs cannot write to user memory"),
        policy.CONFIDENTIALITY: (WARN, f"{policy.CONFIDENTIALITY}: {WITHHELD}"),
    }
    status, text = says.get(state, (UNKNOWN, f"{_HIDDEN} (securityfs)"))
    fix = "boot without lockdown=confidentiality" if status == WARN else ""
    return Check("policy", LOCKDOWN, status, text, fix)


def _explain_sysctl(name: str, number: int, sysctls: Mapping[str, int | None]) -> str:
    if name == "kernel.unprivileged_bpf_disabled":
        return "without privileges, socket filters only" if number == 0 else "no BPF without CAP_BPF"
    if name == "kernel.kptr_restrict":
        is_shown = policy.shows_addresses(sysctls)
        if is_shown is False:
            return "kernel addresses are hidden: stacks have no kernel names"
        reason = ", as kernel.perf_event_paranoid is above 1" if number == 0 else ""
        return "kernel addresses are shown " + ("to all" if is_shown else f"with CAP_SYSLOG{reason}")
    if number < 2:
        return "without privileges, the kernel can be profiled"
    return "without CAP_PERFMON, own processes only" if number == 2 else "no perf events without CAP_PERFMON"


def _check_mounts(mounted: dict[str, bool]) -> Iterator[Check]:
    may = not policy.missing_capabilities(("CAP_SYS_ADMIN",))
    for name, is_mounted in mounted.items():
        path = tracefs.TRACING if name == "tracefs" else tracefs.DEBUG
        if is_mounted:
            yield Check("kernel", name, OK, f"mounted at {path}")
        elif may:
            yield Check("kernel", name, OK, "not mounted: pytracer mounts it for itself alone")
        else:
            yield Check("kernel", name, UNKNOWN, "not mounted, and mounting it takes CAP_SYS_ADMIN")


def _describe_compiler() -> Iterator[Check]:
    try:
        folder = toolchain.find_bcc()
        yield Check("compiler", "BCC", OK, f"{toolchain.bcc_version(folder)} in {folder}")
    except ToolchainError as problem:
        yield Check("compiler", "BCC", FAIL, problem.message, problem.hint)
    if (other := _find_other_bcc()) is not None:
        text = f"{other} is PyPI's crystal-lattice library; it stands in nobody's way, but is of no use here"
        yield Check("compiler", "another bcc", WARN, text, "pip uninstall bcc")
    libbcc = find_library("libbcc.so.0")
    if libbcc is None:
        yield Check("compiler", "libbcc", UNKNOWN, "not in the usual folders")
        return
    libraries = shared_libraries.list_needed(libbcc)
    versions = [name for name in libraries if name.startswith("libLLVM")]
    versions += [name for name in libraries if name.startswith("libclang")]
    yield Check("compiler", "libbcc", OK, str(libbcc))
    # libLLVM-14.so.1 or libLLVM.so.19.1: the number after a .so-less name is the interface's, not LLVM's.
    match = re.match(r"lib[A-Za-z-]+?-?(?:\.so\.)?(\d+(?:\.\d+)*)", versions[0]) if versions else None
    text = (
        f"{match[1]} ({', '.join(versions)})" if match else "linked into libbcc, its version cannot be seen"
    )
    absent = [name for name in versions if find_library(name) is None]
    if absent:
        fix = "reinstall the package that libbcc belongs to"
        yield Check("compiler", "LLVM", WARN, f"{', '.join(absent)} not in the usual folders", fix)
    else:
        yield Check("compiler", "LLVM", OK if match else UNKNOWN, text)


def _check_python() -> Iterator[Check]:
    yield Check("python", "python", OK, platform.python_version())
    for name in _PACKAGES:
        try:
            yield Check("python", name, OK, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            status = FAIL if name == "numpy" else WARN
            yield Check("python", name, status, "not installed", f"pip install {name}")
    if syscalls.have_names():
        yield Check("python", "libseccomp", OK, "there: system calls have names")
    else:
        text = "not there: only system calls of Linux 5.17 and later have names"
        yield Check("python", "libseccomp", WARN, text, distro.install_command(_SECCOMP_PACKAGES))
    yield _check_cache()


def _check_cache() -> Check:
    from pytracer.bpf.cache.directory import VARIABLE, cache_dir

    try:
        folder = cache_dir()
    except CacheError as problem:
        return Check("python", "cache folder", FAIL, problem.message, problem.hint)
    fix = f"set {VARIABLE} to a folder of yours" if folder.note else ""
    return Check("python", "cache folder", WARN if folder.note else OK, folder.note or str(folder.path), fix)


def _describe_leftovers() -> Iterator[Check]:
    """List objects that killed tracers left attached."""
    from pytracer.prog.leftovers import find_leftovers

    if policy.missing_capabilities(("CAP_SYS_ADMIN",)):
        yield Check("left behind", "attachments", UNKNOWN, f"{_HIDDEN} without CAP_SYS_ADMIN")
        return
    try:
        leftovers = find_leftovers()
    except (OSError, PytracerError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        yield Check("left behind", "attachments", UNKNOWN, f"{_HIDDEN}: {reason}")
        return
    for number, leftover in enumerate(leftovers, 1):
        text = f"{leftover.what}, of a tracer that was killed; the next that attaches so removes it"
        yield Check("left behind", f"attachment {number}", WARN, text, leftover.command)
    if not leftovers:
        yield Check("left behind", "attachments", OK, "none of tracers that were killed")


def _summarize(results: tuple[feature_table.ProbeResult, ...]) -> Check:
    """Check whether any hook for tracing works."""
    hooks = [
        result
        for result in results
        if result.feature.name in _TRACING_HOOKS and result.feature.kind == "hook"
    ]
    granted = [result.feature.name for result in hooks if result.status == feature_table.GRANTED]
    if granted:
        return Check("kernel", "tracing", OK, f"works by {', '.join(granted)}")
    if untried := [result.reason for result in hooks if result.status == feature_table.UNTRIED]:
        return Check("kernel", "tracing", UNKNOWN, untried[0])
    has_refused_hook = any(result.status == feature_table.REFUSED for result in hooks)
    text = (
        policy.explain_refusal()
        if has_refused_hook
        else "this kernel has no hook that a program can be put on"
    )
    return Check("kernel", "tracing", FAIL, text)


def find_library(name: str) -> Path | None:
    """Find a shared library in the folders that distributions use; None if it is not there."""
    for pattern in LIBRARIES:
        for folder in sorted(Path("/").glob(pattern[1:])):
            if (folder / name).exists():
                return folder / name
    return None


def _find_other_bcc() -> Path | None:
    """Return the folder of a package called bcc on Python's path that is not the compiler collection."""
    try:
        spec = importlib.util.find_spec("bcc")
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return None if (folder / "libbcc.py").is_file() else folder
