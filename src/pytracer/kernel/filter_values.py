"""Resolve the values of the common filters: processes, users, cgroups, containers, namespaces.

Each function turns one value of the command line into the keys of the filter's map, and raises UsageError
if nothing on this machine has that name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pwd
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pytracer.budget import Account, Budget, OverBudgetError, current
from pytracer.errors import NotPermittedError, UnknownNameError, UsageError
from pytracer.procfs import PROC, living, read_stat
from pytracer.spec import Filter
from pytracer.text import harmless, to_bytes

COMM_LEN = 16  # TASK_COMM_LEN
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")
# What engines and systemd call a container's cgroup. (libpod-conmon-ID.scope is its monitor's.)
_BY_ID = re.compile(r"(?:(?:docker|libpod|cri-containerd|crio)-)?([0-9a-f]{64})(?:\.scope)?")
_BY_NAME = re.compile(r"lxc\.payload\.(?P<lxc>.+)|machine-(?P<machine>.+)\.scope")
_FILEID_KERNFS = 0xFE  # include/linux/exportfs.h
_CGROUP = 10  # what one takes, as entries of a budget
_NS_GET_NSTYPE = 0xB703  # include/uapi/linux/nsfs.h
_NAMESPACES = {"mnt": 0x00020000, "net": 0x40000000}  # CLONE_NEW*
# Where container engines say which id and which process a name stands for.
_DOCKER = Path("/var/lib/docker/containers")
_PODMAN = Path("/var/lib/containers/storage/overlay-containers/containers.json")
_libc = ctypes.CDLL(None, use_errno=True)


def processes(text: str) -> list[int]:
    """Resolve processes: ids and names with commas between them. A name is that of all that run now."""
    found = list[int]()
    for word in map(str.strip, text.split(",")):
        found += [_process(word)] if word.isascii() and word.isdigit() else _processes_of_name(word)
    return list(dict.fromkeys(found))


def with_descendants(roots: Iterable[int], *, hidden: int = 0) -> list[int]:
    """Return those of the processes that exist, with all their descendants except for ``hidden``."""
    children = dict[int, list[int]]()  # of each process; read once, as there may be many roots
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (child := int(folder.name)) != hidden:
                children.setdefault(int(read_stat(child, PROC)[1]), []).append(child)
    found = dict.fromkeys(root for root in roots if (PROC / str(root)).exists())
    new = list(found)
    while new:
        new = [child for process in new for child in children.get(process, ()) if child not in found]
        found |= dict.fromkeys(new)
    return list(found)


def _process(text: str) -> int:
    import psutil  # 16 ms: only for those who name a process

    number = _parse_number(text, "process id")
    if not Path(f"/proc/{number}").is_dir() or not psutil.pid_exists(number):
        raise UsageError(f"no process {number}", hint="ps -e lists them")
    return number


def _processes_of_name(text: str) -> list[int]:
    """Return the processes with this name, as the kernel has it; pytracer is none of them."""
    name, found = comm(text).rstrip(b"\0"), list[int]()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_bytes().removesuffix(b"\n") == name and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    if not found:
        raise UsageError(f"no process {text!r}", hint="-p takes ids, and names as ps -e shows them")
    return sorted(found)


def thread(text: str) -> bytes:
    """Resolve a thread by its id."""
    number = _parse_number(text, "thread id")
    if not Path(f"/proc/{number}").is_dir():
        raise UsageError(f"no thread {number}", hint="ps -eL lists them")
    return struct.pack("I", number)


def comm(text: str) -> bytes:
    """Encode a command's name as the kernel keeps it: its first 15 bytes."""
    if not text:
        raise UsageError("a name is missing")
    return text.encode(errors="surrogateescape")[: COMM_LEN - 1].ljust(COMM_LEN, b"\0")


def user(text: str) -> bytes:
    """Resolve a user by name or number."""
    if text.isdecimal():
        return struct.pack("I", _parse_number(text, "user id"))
    try:
        return struct.pack("I", pwd.getpwnam(text).pw_uid)
    except KeyError:
        raise UnknownNameError(
            "user", text, (entry.pw_name for entry in pwd.getpwall()), where_listed="getent passwd lists them"
        ) from None


def cgroup(text: str) -> bytes:
    """Find a cgroup (version 2) by its folder: absolute, or relative to where cgroup2 is mounted. The text
    that pytracer shows of it names it, too: systemd has backslashes in names."""
    roots = cgroup2_roots()
    for name in dict.fromkeys((text, os.fsdecode(to_bytes(text).replace(b"\0", b"")))) if text else []:
        for path in [Path(name), *(root / name.lstrip("/") for root in roots)]:
            if _is_folder(path) and any(path.resolve().is_relative_to(root) for root in roots):
                return os.fsencode(path.resolve())
    mount_list = ", ".join(map(str, roots)) or "no cgroup2 is mounted"
    raise UsageError(f"no cgroup {text!r}", hint=f"a folder below {mount_list}")


def container(text: str) -> tuple[str, bytes]:
    """Find a container by name or id: ("cgroup", folder), or ("mntns", number) if it has no cgroup2
    folder."""
    ident, process_id = _find_engine_container(text)
    name_or_id = ident or text
    for _, _, folder in cgroups():
        if _is_container(folder, name_or_id):
            return "cgroup", os.fsencode(folder)
    if process_id:
        return "mntns", _resolve_namespace(str(process_id), "mnt")
    raise UsageError(
        f"no running container {text!r}", hint="its name or id, as docker, podman, lxc or machinectl show it"
    )


def network_namespace(text: str) -> bytes:
    """Resolve a network namespace: of a process (its id), by the name that ``ip netns`` gave it, by a path,
    or as ``net:[4026531840]``, which the link in /proc shows."""
    return _resolve_namespace(text, "net", Path("/run/netns", text) if "/" not in text else None)


def mount_namespace(text: str) -> bytes:
    """Resolve a mount namespace: of a process (its id), by a path, or as ``mnt:[4026531841]``."""
    return _resolve_namespace(text, "mnt")


def word_of(which: Filter, key: bytes) -> str:
    """Return the word of a command line that selects the value of a filter again."""
    if which is Filter.CGROUP:
        return os.fsdecode(key)
    if which is Filter.COMM:
        return key.rstrip(b"\0").decode("utf-8", "surrogateescape")
    [number] = struct.unpack("I", key)
    kind = {Filter.NETNS: "net", Filter.MNTNS: "mnt"}.get(which)
    return f"{kind}:[{number}]" if kind else str(number)


def viewer(filters: Mapping[Filter, tuple[bytes, ...]]) -> int:
    """Return a process that sees the files of the traced container: 0 if they are our own, as for all
    processes in our mount namespace, or if the container has no process."""
    for filter_ in (Filter.CGROUP, Filter.MNTNS):
        keys = filters.get(filter_, ())
        if len(keys) == 1:
            viewers = (
                _list_cgroup_processes(Path(os.fsdecode(keys[0])))
                if filter_ is Filter.CGROUP
                else _list_mntns_processes(keys[0])
            )
            return next(
                (process for process in viewers if _read_mntns(process) not in ("", _read_mntns("self"))), 0
            )
    return 0


def _list_cgroup_processes(folder: Path) -> Iterator[int]:
    for path, _ in _walk_folders(folder, current()):
        with contextlib.suppress(OSError):
            yield from map(int, (path / "cgroup.procs").read_text().split())


def _list_mntns_processes(key: bytes) -> Iterator[int]:
    namespace_link = f"mnt:[{struct.unpack('I', key)[0]}]"
    processes = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return (process for process in processes if _read_mntns(process) == namespace_link)


def _read_mntns(process: int | str) -> str:
    """Return the mount namespace of a process; "" if it is not visible."""
    try:
        pid = living(process) if isinstance(process, int) else process
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


def cgroup2_roots() -> list[Path]:
    """Return the mount points of cgroup2."""
    roots = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, mount_point, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            roots.append(Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount_point)))
    return roots


def cgroups(budget: Budget | None = None) -> Iterator[tuple[str, int, Path]]:
    """Yield all cgroups of version 2: the path below the mount point ("/" for the root); the id, which is
    the folder's inode (Linux 5.5, 743210386c03); and the folder.

    A user to whom a tree was delegated may make 100,000 of them, so the time that each takes, the caller's
    included, is charged to its folder's owner. Once an owner is over budget, its further cgroups are
    skipped.
    """
    for root in cgroup2_roots():
        for folder, number in _walk_folders(root, budget or current()):
            yield str(folder).removeprefix(str(root)) or "/", number, folder


def _walk_folders(root: Path, budget: Budget) -> Iterator[tuple[Path, int]]:
    """Yield a folder and all folders below it, with their inodes, within a budget."""
    pending = [root]
    accounts = dict[int, Account]()
    while pending:
        folder = pending.pop()
        with contextlib.suppress(OSError, OverBudgetError):  # it was removed meanwhile
            stat = folder.stat()
            account = accounts.get(stat.st_uid)
            if account is None:
                account = accounts[stat.st_uid] = budget.account(
                    stat.st_uid, f"cgroup {harmless(str(folder))}"
                )
            with account.timed():
                account.charge(entries=_CGROUP)
                yield folder, stat.st_ino
                account.check()
                with os.scandir(folder) as entries:
                    subfolders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
                pending += map(Path, sorted(subfolders, reverse=True))


def cgroup_path(number: int) -> str | None:
    """Return the path of a cgroup by its id, as :func:`cgroups` yields it; "" if it does not exist (any
    more).

    None if the kernel does not answer: it takes CAP_DAC_READ_SEARCH, and Linux 5.5 (33c5ac9175195).
    """
    answers = list[str | None]()
    for root in cgroup2_roots():
        with contextlib.suppress(OSError):
            mount = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                answers.append(_open_by_handle(mount, root, number))
            finally:
                os.close(mount)
    found_paths = [answer for answer in answers if answer]
    return found_paths[0] if found_paths else None if None in answers or not answers else ""


def _open_by_handle(mount: int, root: Path, number: int) -> str | None:
    handle = ctypes.create_string_buffer(struct.pack("=IiQ", 8, _FILEID_KERNFS, number))
    descriptor = int(_libc.open_by_handle_at(mount, handle, os.O_PATH | os.O_CLOEXEC))
    if descriptor < 0:
        return "" if ctypes.get_errno() == errno.ESTALE else None
    try:
        folder = Path(f"/proc/self/fd/{descriptor}").readlink()
    finally:
        os.close(descriptor)
    if not folder.is_relative_to(root):  # outside of what is mounted here
        return ""
    return str(folder).removeprefix(str(root)) or "/"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long a name, or not ours to look at
        return False


def _parse_number(text: str, name: str) -> int:
    if not text.isdecimal() or int(text) > 0xFFFFFFFF:
        raise UsageError(f"{text!r} is no {name}")
    return int(text)


def _resolve_namespace(text: str, kind: str, named: Path | None = None) -> bytes:
    """Return the inode number of a namespace, which is the kernel's own number for it."""
    if shown := re.fullmatch(rf"{kind}:\[(\d{{1,10}})\]", text, re.ASCII):
        return struct.pack("I", _parse_number(shown[1], f"{kind} namespace"))
    candidates = [Path(f"/proc/{living(int(text))}/ns/{kind}")] if text.isdecimal() else [Path(text)]
    if named is not None:
        candidates.insert(0, named)
    for path in candidates:
        try:
            stat = path.stat()
        except PermissionError as error:
            raise NotPermittedError(f"{path} may not be inspected: {error.strerror}") from error
        except OSError:
            continue
        of_nsfs = stat.st_dev == Path("/proc/self/ns/mnt").stat().st_dev
        if of_nsfs and _read_namespace_kind(path) == _NAMESPACES[kind]:
            return struct.pack("I", stat.st_ino)
    hint = "a process id or a path" + (" or a name that 'ip netns' lists" if kind == "net" else "")
    raise UsageError(f"no {kind} namespace {text!r}", hint=hint)


def _read_namespace_kind(path: Path) -> int:
    """Return the CLONE_NEW* flag of an nsfs file; 0 if it cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(fcntl.ioctl(descriptor, _NS_GET_NSTYPE))
    finally:
        os.close(descriptor)


def _is_container(folder: Path, container_name: str) -> bool:
    """Return whether a cgroup belongs to a container: docker-ID.scope, libpod-ID.scope, the bare ID,
    lxc.payload.NAME, lxc/NAME, machine-NAME.scope. A service of the same name does not match."""
    if match := _BY_ID.fullmatch(folder.name):
        return bool(_CONTAINER_ID.fullmatch(container_name)) and match[1].startswith(container_name)
    if match := _BY_NAME.fullmatch(folder.name):
        # systemd writes the dashes of a machine's name as \x2d
        return container_name == (match["lxc"] or match["machine"].replace(r"\x2d", "-"))
    return folder.parent.name == "lxc" and folder.name == container_name


def _find_engine_container(name: str) -> tuple[str, int]:
    """Return (id, first process) of docker's or podman's container with a name, or with an id that begins
    so."""
    containers = list(_iter_engine_containers())
    for names, ident, process_id in containers:
        if name in names:
            return ident, process_id
    for _, ident, process_id in containers:
        if _CONTAINER_ID.fullmatch(name) and ident.startswith(name):
            return ident, process_id
    return "", 0


def _iter_engine_containers() -> Iterator[tuple[list[str], str, int]]:
    """Yield (names, id, first process) of each container of docker and podman."""
    for config in _DOCKER.glob("*/config.v2.json"):
        try:
            data = json.loads(config.read_text())
        except (OSError, ValueError):
            continue
        yield (
            [data.get("Name", "").lstrip("/")],
            data.get("ID", ""),
            int(data.get("State", {}).get("Pid") or 0),
        )
    try:
        entries_ = json.loads(_PODMAN.read_text())
    except (OSError, ValueError):
        return
    for entry in entries_:
        yield entry.get("names") or [], entry.get("id", ""), 0
