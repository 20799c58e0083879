"""What the common filters name: processes, users, cgroups, containers, namespaces, as the kernel knows them.

Each function turns one value of the command line into what the filter's map holds, and raises UsageError
where nothing on this machine bears that name.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import struct
from pathlib import Path

from pytracer.errors import NotPermittedError, UnknownNameError, UsageError

COMM_LEN = 16  # TASK_COMM_LEN
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")
# Where container engines say which id and which process a name stands for.
_DOCKER = Path("/var/lib/docker/containers")
_PODMAN = Path("/var/lib/containers/storage/overlay-containers/containers.json")


def process(text: str) -> bytes:
    """A process by its id."""
    import psutil  # 16 ms: only for those who name a process

    number = _number(text, "process id")
    if not psutil.pid_exists(number) or not Path(f"/proc/{number}").is_dir():
        raise UsageError(f"no process {number}", hint="ps -e lists them")
    return struct.pack("I", number)


def thread(text: str) -> bytes:
    """A thread by its id."""
    number = _number(text, "thread id")
    if not Path(f"/proc/{number}").is_dir():
        raise UsageError(f"no thread {number}", hint="ps -eL lists them")
    return struct.pack("I", number)


def comm(text: str) -> bytes:
    """A command's name, as the kernel keeps it: its first 15 bytes."""
    if not text:
        raise UsageError("--comm needs a name")
    return text.encode(errors="surrogateescape")[: COMM_LEN - 1].ljust(COMM_LEN, b"\0")


def user(text: str) -> bytes:
    """A user by name or number."""
    if text.isdecimal():
        return struct.pack("I", _number(text, "user id"))
    try:
        return struct.pack("I", pwd.getpwnam(text).pw_uid)
    except KeyError:
        raise UnknownNameError("user", text, (entry.pw_name for entry in pwd.getpwall())) from None


def cgroup(text: str) -> bytes:
    """A cgroup (version 2) by its folder: absolute, or relative to where cgroup2 is mounted."""
    roots = cgroup2_roots()
    for path in [Path(text), *(root / text.lstrip("/") for root in roots)]:
        if path.is_dir() and any(path.resolve().is_relative_to(root) for root in roots):
            return os.fsencode(path.resolve())
    where = ", ".join(map(str, roots)) or "no cgroup2 is mounted"
    raise UsageError(f"no cgroup {text!r}", hint=f"a folder below {where}")


def container(text: str) -> tuple[str, bytes]:
    """A container by name or id: ("cgroup", folder), or ("mntns", number) where it has none in cgroup2."""
    ident, process_id = _engine_container(text)
    wanted = ident or text
    for root in cgroup2_roots():
        for folder, folders, _files in os.walk(root):
            for name in folders:
                if _names_container(name, wanted):
                    return "cgroup", os.fsencode(Path(folder, name))
    if process_id:
        return "mntns", _namespace(str(process_id), "mnt")
    raise UsageError(
        f"no running container {text!r}", hint="its name or id, as docker, podman, lxc or machinectl show it"
    )


def network_namespace(text: str) -> bytes:
    """A network namespace: of a process (its id), by the name that ``ip netns`` gave it, or by a path."""
    return _namespace(text, "net", Path("/run/netns", text) if "/" not in text else None)


def mount_namespace(text: str) -> bytes:
    """A mount namespace: of a process (its id), or by a path."""
    return _namespace(text, "mnt")


def cgroup2_roots() -> list[Path]:
    """Where the cgroup2 file system is mounted."""
    roots = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, where, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            roots.append(Path(where.encode().decode("unicode_escape")))
    return roots


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) > 0xFFFFFFFF:
        raise UsageError(f"{text!r} is no {what}")
    return int(text)


def _namespace(text: str, kind: str, named: Path | None = None) -> bytes:
    """The inode number of a namespace, which is the kernel's own number for it."""
    candidates = [Path(f"/proc/{text}/ns/{kind}")] if text.isdecimal() else [Path(text)]
    if named is not None:
        candidates.insert(0, named)
    for path in candidates:
        try:
            found = path.stat()
        except PermissionError as error:
            raise NotPermittedError(f"{path} may not be looked at: {error.strerror}") from error
        except OSError:
            continue
        if found.st_dev == Path("/proc/self/ns/mnt").stat().st_dev:  # of nsfs, not some other file
            return struct.pack("I", found.st_ino)
    hint = "a process id or a path" + (" or a name that 'ip netns' lists" if kind == "net" else "")
    raise UsageError(f"no {kind} namespace {text!r}", hint=hint)


def _names_container(folder: str, wanted: str) -> bool:
    """Whether a cgroup's folder is that of a container: docker-ID.scope, libpod-ID.scope,
    lxc.payload.NAME, machine-NAME.scope, or the bare id or name."""
    bare = folder.removesuffix(".scope").removesuffix(".service")
    bare = bare.removeprefix("lxc.payload.").removeprefix("machine-").rpartition("-")[2] or bare
    stem = folder.removesuffix(".scope").removeprefix("lxc.payload.").removeprefix("machine-")
    if wanted in (bare, stem, folder):
        return True
    return bool(_CONTAINER_ID.fullmatch(wanted)) and bare.startswith(wanted)


def _engine_container(name: str) -> tuple[str, int]:
    """(id, first process) that docker or podman keep under a name; empty where they know none."""
    for config in _DOCKER.glob("*/config.v2.json"):
        try:
            data = json.loads(config.read_text())
        except (OSError, ValueError):
            continue
        if data.get("Name", "").lstrip("/") == name or data.get("ID", "").startswith(name):
            return data.get("ID", ""), int(data.get("State", {}).get("Pid") or 0)
    try:
        listed = json.loads(_PODMAN.read_text())
    except (OSError, ValueError):
        listed = []
    for entry in listed:
        if name in entry.get("names", ()) or entry.get("id", "").startswith(name):
            return entry.get("id", ""), 0
    return "", 0
