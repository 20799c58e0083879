"""A C file compiled, and its functions put through the verifier; nothing is attached.

That is done in a process of its own: of some programs LLVM says what is wrong, and ends the process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping

from pytracer.bpf.capture import share
from pytracer.bpf.sys import ProgType
from pytracer.errors import BuildError, PytracerError, VerifierError
from pytracer.explain.refused import Refused, functions
from pytracer.kernel.policy import TRACING, require
from pytracer.record import as_dict

_KINDS: Mapping[str, ProgType] = {
    "struct __sk_buff": ProgType.SOCKET_FILTER,
    "struct xdp_md": ProgType.XDP,
    "struct pt_regs": ProgType.KPROBE,
    "struct bpf_raw_tracepoint_args": ProgType.RAW_TRACEPOINT,
    "struct bpf_perf_event_data": ProgType.PERF_EVENT,
}


def tried(source: str, text: str) -> list[Refused]:
    """What became of each function of ``text`` that may be a program, by what its argument is. Raises what
    compiling raises where that is no matter of a program."""
    require(TRACING, "pytracer explain")
    wanted = {name: kind for name, kind in functions(text) if kind in _KINDS}
    with _memory("result") as result, _memory("said") as said:
        child = os.fork()
        if not child:
            _try_all(source, text, wanted, result, said)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer, words = _read(result), _read(said)
    if answer:
        kind, rest = json.loads(answer)
        if kind == "error":
            raise BuildError(rest["message"], hint=rest["hint"], detail=rest["detail"])
        return [Refused(**one) for one in rest]
    program = next((name for name in wanted if f"function {name} " in words), source)
    return [Refused(program, "", words or f"the compiler ended with status {status}", compiler=True)]


def _try_all(source: str, text: str, wanted: Mapping[str, str], result: int, said: int) -> None:
    """The child's side. Does not return."""
    try:
        share(said)
        answer: tuple[str, object]
        try:
            answer = "found", [as_dict(one) for one in _load_all(source, text, wanted)]
        except PytracerError as error:
            answer = "error", {"message": error.message, "hint": error.hint, "detail": error.detail}
        os.write(result, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _load_all(source: str, text: str, wanted: Mapping[str, str]) -> list[Refused]:
    from pytracer.bpf.build import BccModule
    from pytracer.bpf.headers import find_headers

    module = BccModule(source, text, (), find_headers(text), keep_logs=False)
    with contextlib.closing(module):
        found = []
        for program, argument in wanted.items():
            kind = _KINDS[argument]
            name = kind.name.lower()
            try:
                module.load(program, kind)
            except VerifierError as error:
                found.append(Refused(program, name, error.detail))
            else:
                found.append(Refused(program, name, "", passed=True))
        return found


@contextlib.contextmanager
def _memory(name: str) -> Iterator[int]:
    descriptor = os.memfd_create(name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> str:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, 0).decode(errors="replace")
