"""Attach programs to cgroups: by a link, or by BPF_PROG_ATTACH.

Both ways allow other programs beside it (BPF_F_ALLOW_MULTI): the kernel runs all
programs of a cgroup and of its ancestors, and denies what any of them denies. So a program of pytracer always
allows.

An attachment without a link outlives the process that made it. So the program's name identifies its owner
(owner.py), and programs that killed processes left on any cgroup are detached before the next one is
attached.

See "Packets" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path

from pytracer.bpf.attach.interface import describe_program
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_all_or_none
from pytracer.bpf.attach.owner import encode_short_name, is_dead_short, name_owner
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.objects import ObjectKind, iter_ids
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried
from pytracer.bpf.sys import (
    Command,
    ProgType,
    address,
    bpf,
    bpf_inout,
    link_create,
    program_by_id,
    program_info,
)
from pytracer.bpf.trial import return_code
from pytracer.errors import AttachError, PytracerError
from pytracer.features.table.hook_features import CGROUP_LINK, CGROUP_SKB
from pytracer.kernel import policy
from pytracer.kernel.facts import Support
from pytracer.kernel.filter_values import cgroup2_roots, cgroups
from pytracer.spec import OnCgroup

PASS = 1
"""The return value with which a program changes nothing."""

NEEDED = ("CAP_NET_ADMIN", "CAP_BPF")
NO_CGROUP2 = "no cgroups of version 2 are mounted"
_ALLOW_MULTI = 1 << 1  # BPF_F_ALLOW_MULTI
_NOWHERE = 0xFFFFFFFF  # an invalid descriptor (-1)
_MOST = 64  # programs of one kind on one cgroup: BPF_CGROUP_MAX_PROGS


class CgroupLink(Link):
    """A program on a cgroup. The cgroup may be removed while the program is attached."""

    target_kind = "cgroup"

    def __init__(
        self, fd: int, descriptors: tuple[int, int], path: str, number: int, attach_type: int
    ) -> None:
        """Own ``fd``, a BPF link (-1 if there is none), and the descriptors of the cgroup and of the program.
        Without a link these two detach the program, even when the process can open no more files.
        ``number`` is the program's id."""
        super().__init__(fd, place=path)
        self._folder, self._program = descriptors
        self._number, self._type = number, attach_type
        self._by_name, self._over = fd < 0, False

    @property
    def poll_detached(self) -> str:
        """See :class:`Link`."""
        if self._over:
            return ""
        try:
            self._over = self._number not in query_attached(self._folder, self._type)
        except OSError:  # a cgroup that is gone has no programs
            self._over = True
            return "it is gone"
        return "somebody took the program off" if self._over else ""

    @property
    def is_over(self) -> bool:
        """See :class:`Link`."""
        return self._over

    def detach(self) -> None:
        """See :class:`Link`."""
        super().detach()
        if self._folder < 0:
            return
        try:
            if self._by_name:
                detach(self._folder, self._program, self._type)
        finally:
            os.close(self._folder)
            os.close(self._program)
            self._folder = -1


def check_support(probe: OnCgroup, prober: FeatureProber, attributes: LoadAttributes) -> Support:
    """Test whether the kernel loads such programs and attaches them to cgroups.

    Attaches to an invalid descriptor: a kernel that has this way of attaching answers EBADF.
    """
    if prober.missing_capabilities or policy.missing_capabilities(NEEDED):
        return report_untried(probe.target)
    try:
        program = prober.program(attributes.type, return_code(PASS), attributes.attach_type)
    except OSError as error:
        return report_unsupported(
            error, f"this kernel has no programs on cgroups for {probe.target} (CONFIG_CGROUP_BPF)"
        )
    try:
        if probe.link:
            os.close(link_create(program, attributes.attach_type, target=_NOWHERE))
        else:
            _prog_attach(_NOWHERE, program, attributes.attach_type)
    except OSError as error:
        if error.errno != errno.EBADF:
            return report_unsupported(error, (CGROUP_LINK if probe.link else CGROUP_SKB).absence)
    if not cgroup2_roots():
        return Support(False, reason=NO_CGROUP2)
    return Support(True, probe.target)


def load_attributes(probe: OnCgroup, kind: ProgType, attach_type: int) -> LoadAttributes:
    """Return the load attributes. A program attached without a link gets a name that identifies its owner."""
    label = "" if probe.link else encode_short_name(name_owner(os.getpid()))
    return LoadAttributes(kind, attach_type, result=PASS, label=label)


def attach(probe: OnCgroup, target: AttachTarget, program: int, attach_type: int) -> list[Link]:
    """Attach to each cgroup, or to the root and so to all if none is named."""
    links = list[Link]()
    if not probe.link:
        sweep(attach_type)
    with attach_all_or_none(links):
        for path in target.cgroups or tuple(map(str, cgroup2_roots()[:1])):
            links.append(_attach_to_folder(path, program, attach_type, by_link=probe.link))
    return links


def query_attached(folder: int, attach_type: int) -> tuple[int, ...]:
    """Return the ids of the programs attached to this cgroup itself. Raises OSError if it is removed."""
    return _query(folder, attach_type)[1]


def detach(folder: int, program: int, attach_type: int) -> None:
    """Detach a program from a cgroup, if it is attached. Raises the error that explains the kernel's
    refusal."""
    try:
        if program_info(program)[0] in query_attached(folder, attach_type):
            bpf(Command.PROG_DETACH, struct.pack("III", folder, program, attach_type))
    except OSError as error:
        if error.errno not in (
            errno.ENOENT,
            errno.ENODEV,
        ):  # it went with its cgroup, or somebody took it off
            raise make_attach_error(error, "a cgroup, to take a program off", capabilities=NEEDED) from error


def sweep(attach_type: int) -> None:
    """Detach the programs that ended processes left on any cgroup. Visits the cgroups only if there are such
    programs."""
    dead = {number for number in iter_ids(ObjectKind.PROGRAM) if is_leftover(number)}
    for _, _, path in cgroups() if dead else ():
        with contextlib.suppress(OSError):  # it was removed meanwhile
            folder = _open_folder(str(path))
            try:
                for number in dead.intersection(query_attached(folder, attach_type)):
                    program = program_by_id(number)
                    try:
                        detach(folder, program, attach_type)
                    finally:
                        os.close(program)
            finally:
                os.close(folder)


def is_leftover(number: int) -> bool:
    """Return True if a program, by its id, has the name of an ended process. False if it is unloaded."""
    with contextlib.suppress(OSError):  # it was unloaded meanwhile
        program = program_by_id(number)
        try:
            return is_dead_short(program_info(program)[1])
        finally:
            os.close(program)
    return False


def _attach_to_folder(path: str, program: int, attach_type: int, *, by_link: bool) -> CgroupLink:
    descriptors = list[int]()
    fd = -1
    try:
        descriptors += [_open_folder(path)]
        descriptors += [os.dup(program)]
        number = program_info(program)[0]
        if by_link:
            fd = link_create(program, attach_type, target=descriptors[0])
        else:
            _prog_attach(descriptors[0], program, attach_type)
    except OSError as error:
        for descriptor in descriptors:
            os.close(descriptor)
        conflict = _describe_conflict(path, attach_type) if error.errno == errno.EPERM else None
        raise conflict or _make_error(error, path) from error
    return CgroupLink(fd, (descriptors[0], descriptors[1]), path, number, attach_type)


def _open_folder(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _prog_attach(folder: int, program: int, attach_type: int) -> None:
    bpf(Command.PROG_ATTACH, struct.pack("IIII", folder, program, attach_type, _ALLOW_MULTI))


def _query(folder: int, attach_type: int) -> tuple[int, tuple[int, ...]]:
    """Return the attach flags and the ids of the programs on a cgroup. Raises OSError."""
    numbers = bytearray(4 * _MOST)
    attr = struct.pack("IIIIQI", folder, attach_type, 0, 0, address(numbers), _MOST)
    _, reply = bpf_inout(Command.PROG_QUERY, attr)
    flags, count = struct.unpack_from("I", reply, 12)[0], struct.unpack_from("I", reply, 24)[0]
    return flags, struct.unpack_from(f"{count}I", numbers)


def _describe_conflict(path: str, attach_type: int) -> PytracerError | None:
    """Return the error that names a program, on the cgroup or an ancestor, which allows no others; None if
    there is none."""
    roots = cgroup2_roots()
    for ancestor in (Path(path), *Path(path).parents):
        if not any(ancestor.is_relative_to(root) for root in roots):
            return None
        with contextlib.suppress(OSError):
            folder = _open_folder(str(ancestor))
            try:
                flags, numbers = _query(folder, attach_type)
            finally:
                os.close(folder)
            if numbers and not flags & _ALLOW_MULTI:
                return AttachError(
                    f"another program on the cgroup {ancestor} allows none beside it, and stays: "
                    f"{'; '.join(map(describe_program, numbers))}",
                    hint="bpftool cgroup tree shows what is on cgroups",
                )
    return None


def _make_error(error: OSError, path: str) -> PytracerError:
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return AttachError(f"the cgroup {path} is gone")
    if error.errno == errno.E2BIG:
        return AttachError(f"the cgroup {path} has {_MOST} programs, and takes no more")
    return make_attach_error(error, f"the cgroup {path}", capabilities=NEEDED)
