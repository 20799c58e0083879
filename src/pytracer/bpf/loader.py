"""An image put into the kernel by bpf(2) alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping

from pytracer.bpf.identity import version_code
from pytracer.bpf.image import Image, MapSpec, patched
from pytracer.bpf.maps import Map
from pytracer.bpf.sys import MapType, ProgType, map_create, prog_load
from pytracer.bpf.verifier import keep_log, summarise
from pytracer.errors import VerifierError
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.policy import explain, raise_memlock

_LOG = (1 << 24) - 1  # bytes: UINT_MAX >> 8, and one more is refused before Linux 5.2 (7a9f5c65abcc)


class ImageModule:
    """A :class:`~pytracer.bpf.module.Module`: the maps created, the programs loaded when asked for."""

    def __init__(self, name: str, image: Image, *, keep_logs: bool = True) -> None:
        """Create the maps. Raises what the kernel's refusal means.

        ``keep_logs``: write the log of a program that is refused to a file, for the user to read.
        """
        self.name = name
        self._keep_logs = keep_logs
        self._image = image
        self._loaded: list[int] = []
        self._maps: dict[str, Map] = {}
        raise_memlock()
        try:
            for spec in image.maps:
                self._maps[spec.name] = _create(spec)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise explain(error, f"creating the maps of {name}") from error
            raise

    @property
    def maps(self) -> dict[str, Map]:
        """See :class:`~pytracer.bpf.module.Module`."""
        return self._maps

    def load(
        self,
        program: str,
        kind: ProgType,
        attach_type: int = 0,
        *,
        btf_id: int = 0,
        constants: Mapping[int, int] | None = None,
        prologue: bytes = b"",
        label: str = "",
    ) -> int:
        """See :class:`~.module.Module`. Raises ImageError where the image holds no such program."""
        code = self._image.program(program).linked({name: table.fd for name, table in self._maps.items()})
        code = prologue + patched(code, constants or {})

        def load(log: bytearray | None = None) -> int:
            return prog_load(
                kind,
                code,
                log=log,
                version=version_code(),
                attach_type=attach_type,
                btf_id=btf_id,
                name=label or program,
            )

        descriptor = load_code(f"{self.name}:{program}", load, keep_logs=self._keep_logs)
        self._loaded.append(descriptor)
        return descriptor

    def close(self) -> None:
        """See :class:`~pytracer.bpf.module.Module`."""
        while self._loaded:
            os.close(self._loaded.pop())
        while self._maps:
            os.close(self._maps.popitem()[1].fd)


def load_code(what: str, load: Callable[[bytearray | None], int], *, keep_logs: bool) -> int:
    """Load a program, called ``what``, by a function that takes the verifier's log, or None for none.

    Raises VerifierError, or what the kernel's refusal means.
    """
    try:
        return load(None)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOMEM):  # not the verifier's
            raise explain(error, f"loading {what}") from error
        return _once_more(what, load, error, keep_logs=keep_logs)


def _once_more(what: str, load: Callable[[bytearray | None], int], error: OSError, *, keep_logs: bool) -> int:
    """Ask for the verifier's words: a log nobody reads costs time at every start.

    The descriptor, should the kernel be of another mind now; else VerifierError, or what ``error`` means
    where the verifier had nothing to say.
    """
    log = bytearray(_LOG)
    cut = ""
    try:
        return load(log)
    except OSError as again:
        if again.errno == errno.ENOSPC:  # before Linux 6.4 (121664093803) the end is what is missing
            cut = " (the log is longer than the kernel can hand out)"
    text = log[: log.index(0)].decode(errors="replace") if 0 in log else log.decode(errors="replace")
    if not text.strip():
        raise explain(error, f"loading {what}") from error
    raise VerifierError(
        f"the verifier refused {what}: {summarise(text).reason}{cut}",
        hint=f"the whole log is in {keep_log(what.rpartition(':')[2], text)}" if keep_logs else "",
        detail=text,
    ) from error


def _create(spec: MapSpec) -> Map:
    entries = spec.max_entries
    if spec.type == MapType.PERF_EVENT_ARRAY:  # BCC wrote down how many there were where it compiled
        entries = max(entries, possible_cpus())
    fd = map_create(spec.type, spec.key_size, spec.value_size, entries, spec.flags, name=spec.name)
    return Map.of(spec, fd, entries)
