"""Load an image into the kernel by bpf(2) alone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from pytracer.bpf.identity import version_code
from pytracer.bpf.image import BY_COOKIE, TARGET, Image, MapSpec, drop_calls, patch_constants
from pytracer.bpf.line_info import NO_DEBUG_INFO, FuncLineInfo, load_btf
from pytracer.bpf.load import preemption
from pytracer.bpf.load.tail_calls import TailCalls, tail_call_targets
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import LOCAL_STORAGE, MapType, ProgType, map_create, prog_load
from pytracer.errors import UnsupportedError, VerifierError
from pytracer.features.table.helpers import ATTACH_COOKIE
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.policy import explain, is_confidential, make_lockdown_error, raise_memlock

_ALL, _STATISTICS = 2, 4  # BPF_LOG_LEVEL2, BPF_LOG_STATS
_LOG = (1 << 24) - 1  # bytes: UINT_MAX >> 8, and one more is refused before Linux 5.2 (7a9f5c65abcc)
# Lockdown withholds the helpers that read kernel memory (Linux 5.4, 9d1f8be5cf42).
_KEY_MAX = 512  # bytes of a hash's key, on older kernels (MAX_BPF_STACK)
_WITHHELD = re.compile(
    r"(?:unknown func|cannot use helper|program of this type cannot use helper) bpf_probe_read"
)


class Loader:
    """Loads the functions of a C file, and owns their descriptors."""

    def __init__(self, name: str, *, keep_logs: bool) -> None:
        """Keep the image to load. With ``keep_logs``, the verifier log of a rejected program is written to a
        file."""
        self._name = name
        self._keep_logs = keep_logs
        self._loaded: list[int] = []

    def load(
        self,
        program: str,
        code: bytes,
        kind: ProgType,
        attach_type: int = 0,
        *,
        btf: int = -1,
        line_info: FuncLineInfo = NO_DEBUG_INFO,
        btf_id: int = 0,
        constants: Mapping[int, int] | None = None,
        prologue: bytes = b"",
        label: str = "",
        preempted: bool = False,
        on_log: Callable[[str], None] | None = None,
    ) -> int:
        """Load a function with this code and return its descriptor; see
        :class:`~pytracer.bpf.load.module.Module`.

        ``btf`` is a descriptor of the BTF to which ``line_info`` refers, -1 for none. Raises VerifierError,
        or the error that explains the kernel's refusal.
        """
        constants = constants or {}
        if constants.get(TARGET, BY_COOKIE) != BY_COOKIE:
            code = drop_calls(code, ATTACH_COOKIE.number)
        code = prologue + patch_constants(code, constants)
        line_info = line_info.shift(len(prologue) // 8)

        def load_as(instructions: bytes, line_info: FuncLineInfo, *, keep_logs: bool) -> int:
            def load(log: bytearray | None = None, level: int = 1) -> int:
                return prog_load(
                    kind,
                    instructions,
                    log=log,
                    level=level,
                    version=version_code(),
                    attach_type=attach_type,
                    btf_id=btf_id,
                    name=label or program,
                    btf=btf,
                    functions=line_info.functions,
                    lines=line_info.lines,
                )

            return load_code(f"{self._name}:{program}", load, keep_logs=keep_logs, on_log=on_log)

        descriptor = -1
        if preempted and (caller := preemption.caller()):
            # Before Linux 6.13 the stack of a called program may be too large.
            with contextlib.suppress(VerifierError):
                info = line_info.called_from(len(caller) // 8)
                descriptor = load_as(caller + code, info, keep_logs=False)
        if descriptor < 0:
            descriptor = load_as(code, line_info, keep_logs=self._keep_logs)
        self._loaded.append(descriptor)
        return descriptor

    def close(self) -> None:
        """Close all programs."""
        while self._loaded:
            os.close(self._loaded.pop())


class ImageModule:
    """A :class:`~pytracer.bpf.load.module.Module` made from an image: creates the maps, loads programs on
    request."""

    def __init__(self, name: str, image: Image, *, keep_logs: bool = True) -> None:
        """Create the maps. Raises the error that explains the kernel's refusal.

        ``keep_logs``: see :class:`Loader`.
        """
        self.name = name
        self._image = image
        self._btf = -1
        self._loader = Loader(name, keep_logs=keep_logs)
        self._maps: dict[str, Map] = {}
        raise_memlock()
        try:
            for spec in sorted(image.maps, key=lambda spec: bool(spec.inner)):
                self._maps[spec.name] = _create(spec, self._maps)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                longest = max(spec.key_size for spec in image.maps)
                if error.errno == errno.E2BIG and longest > _KEY_MAX:
                    raise UnsupportedError(
                        f"this kernel has no maps with keys of {longest} bytes: {_KEY_MAX} at most",
                        hint="shorter strings in keys: config = { max_strlen = 64 } in a script, -z 64",
                    ) from error
                raise explain(error, f"creating the maps of {name}") from error
            raise
        self._btf = load_btf(image.btf)
        self._tails = TailCalls(self._maps, {spec.name for spec in image.programs})

    @property
    def maps(self) -> dict[str, Map]:
        """See :class:`~pytracer.bpf.load.module.Module`."""
        return self._maps

    def readers(self, name: str) -> Collection[str]:
        """See :class:`~pytracer.bpf.load.module.Module`."""
        return {spec.name for spec in self._image.programs if name in spec.references.values()}

    def load(self, program: str, kind: ProgType, attach_type: int = 0, **attributes: Any) -> int:
        """See :class:`~.module.Module`. Raises ImageError if the image has no such program."""
        spec = self._image.program(program)
        code = spec.link({name: table.fd for name, table in self._maps.items()})
        descriptor = self._loader.load(
            program, code, kind, attach_type, btf=self._btf, line_info=spec.func_line_info, **attributes
        )
        self._tails.fill(
            spec.references.values(),
            lambda name: self.load(name, kind, attach_type, **tail_call_targets(attributes)),
        )
        return descriptor

    def close(self) -> None:
        """See :class:`~pytracer.bpf.load.module.Module`."""
        self._loader.close()
        while self._maps:
            os.close(self._maps.popitem()[1].fd)
        if self._btf >= 0:
            os.close(self._btf)
            self._btf = -1


class LoadRequest(Protocol):
    """A function that loads a program, with or without a buffer for the verifier log."""

    def __call__(self, log: bytearray | None = None, level: int = 1) -> int:
        """Load and return the descriptor. Raises OSError."""
        ...


def load_code(
    name: str, load: LoadRequest, *, keep_logs: bool, on_log: Callable[[str], None] | None = None
) -> int:
    """Load the program ``name``; if it passes, ``on_log`` gets the whole verifier log.

    Raises VerifierError, or the error that explains the kernel's refusal.
    """
    try:
        return load() if on_log is None else _load_verbose(load, on_log)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOMEM):  # not from the verifier
            raise explain(error, f"loading {name}") from error
        return _reload_with_log(name, load, error, keep_logs=keep_logs)


def _load_verbose(load: LoadRequest, on_log: Callable[[str], None]) -> int:
    """Load twice: once for the log of all steps, once for the statistics, since logging the steps distorts
    the time that the verifier reports."""
    log = bytearray(_LOG)
    try:
        os.close(load(log, _ALL))
        steps = _log_text(log)
    except OSError as error:
        if error.errno != errno.ENOSPC:  # before Linux 6.4 (121664093803), of a log that does not fit
            raise
        steps = "The log is longer than the kernel can hand out.\n"
    log = bytearray(_LOG)
    descriptor = load(log, _STATISTICS)
    on_log(steps + _log_text(log))
    return descriptor


def _log_text(log: bytearray) -> str:
    return log.partition(b"\0")[0].decode(errors="replace")


def _reload_with_log(name: str, load: LoadRequest, error: OSError, *, keep_logs: bool) -> int:
    """Load again with a log; the first attempt has none, since writing it costs time at every start.

    Returns the descriptor if it loads now. Raises VerifierError, or the error that explains ``error`` if the
    log is empty.
    """
    log = bytearray(_LOG)
    truncated = ""
    try:
        return load(log)
    except OSError as again:
        if again.errno == errno.ENOSPC:  # before Linux 6.4 (121664093803) the end is what is missing
            truncated = " (the log is longer than the kernel can hand out)"
    text = _log_text(log)
    if not text.strip():
        raise explain(error, f"loading {name}") from error
    from pytracer.bpf.load.verifier import keep_log, summarise  # imported late: only refusals need it

    refusal = summarise(text)
    if _WITHHELD.search(refusal.reason) and is_confidential():
        raise make_lockdown_error(f"reading kernel memory, which {name} does") from error
    location = f" at {refusal.source}" if refusal.source else ""
    raise VerifierError(
        f"the verifier refused {name}: {refusal.reason}{location}{truncated}",
        hint=f"the whole log is in {keep_log(name.rpartition(':')[2], text)}" if keep_logs else "",
        detail=text,
    ) from error


def _create(spec: MapSpec, maps: Mapping[str, Map]) -> Map:
    """Create a map; ``maps`` are those that exist already."""
    entries = spec.max_entries
    if spec.type == MapType.PERF_EVENT_ARRAY:  # BCC stored the number of CPUs of the compiling machine
        entries = max(entries, possible_cpus())
    inner = maps[spec.inner].fd if spec.inner else 0
    types = 0
    if spec.type in LOCAL_STORAGE:
        from pytracer.bpf.load import local_storage

        types = local_storage.storage_types(spec.value_size)
    try:
        shape = spec.type, spec.key_size, spec.value_size, entries, spec.flags
        fd = map_create(*shape, name=spec.name, inner=inner, btf=types)
    finally:
        if types:
            os.close(types)
    return Map.of(spec, fd, entries)
