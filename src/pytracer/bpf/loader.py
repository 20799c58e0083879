"""An image put into the kernel by bpf(2) alone."""

from __future__ import annotations

import errno
import os

from pytracer.bpf.identity import kernel_version
from pytracer.bpf.image import Image, MapSpec
from pytracer.bpf.maps import Map
from pytracer.bpf.sys import MapType, ProgType, map_create, prog_load
from pytracer.bpf.verifier import keep_log, summarise
from pytracer.errors import VerifierError
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.policy import explain, raise_memlock

_LOG = 1 << 24  # bytes; Linux 5.2 and later take more, older ones at most this


class ImageModule:
    """A :class:`~pytracer.bpf.module.Module`: the maps created, the programs loaded when asked for."""

    def __init__(self, name: str, image: Image) -> None:
        """Create the maps. Raises what the kernel's refusal means."""
        self.name = name
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

    def load(self, program: str, kind: ProgType, attach_type: int = 0) -> int:
        """See :class:`~pytracer.bpf.module.Module`."""
        code = self._image.program(program).linked({name: table.fd for name, table in self._maps.items()})
        try:
            descriptor = prog_load(kind, code, name=program, version=_version(), attach_type=attach_type)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EINVAL, errno.E2BIG):
                raise explain(error, f"loading {self.name}:{program}") from error
            raise self._refused(program, kind, code, attach_type, error) from error
        self._loaded.append(descriptor)
        return descriptor

    def close(self) -> None:
        """See :class:`~pytracer.bpf.module.Module`."""
        while self._loaded:
            os.close(self._loaded.pop())
        while self._maps:
            os.close(self._maps.popitem()[1].fd)

    def _refused(
        self, program: str, kind: ProgType, code: bytes, attach_type: int, error: OSError
    ) -> VerifierError:
        """The verifier's words: asked for once more, since a log nobody reads costs time at every start."""
        log = bytearray(_LOG)
        try:
            os.close(prog_load(kind, code, log=log, version=_version(), attach_type=attach_type))
        except OSError:
            pass
        text = bytes(log).partition(b"\0")[0].decode(errors="replace")
        reason = summarise(text).reason if text.strip() else (error.strerror or str(error))
        return VerifierError(
            f"the verifier refused {self.name}:{program}: {reason}",
            hint=f"the whole log is in {keep_log(program, text)}",
            detail=text,
        )


def _create(spec: MapSpec) -> Map:
    entries = spec.max_entries
    if spec.type == MapType.PERF_EVENT_ARRAY and not entries:
        entries = possible_cpus()
    fd = map_create(spec.type, spec.key_size, spec.value_size, entries, spec.flags, name=spec.name)
    return Map.of(spec, fd, entries)


def _version() -> int:
    """LINUX_VERSION_CODE, which the kernel asks of programs on functions (until 5.0, 6c4fc209fcf9)."""
    major, minor, patch = kernel_version()
    return major << 16 | minor << 8 | min(patch, 255)
