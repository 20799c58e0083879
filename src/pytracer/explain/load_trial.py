"""Compile a C file and load its functions without attaching them.

Runs in a child process: LLVM ends the process after errors in some programs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from pytracer.bpf.compile.forked import run_in_child
from pytracer.bpf.sys import ProgType
from pytracer.errors import BuildError, PytracerError, VerifierError
from pytracer.explain.refused import RefusedProgram, functions
from pytracer.kernel.policy import TRACING, require_capabilities
from pytracer.record import as_dict

_KINDS: Mapping[str, ProgType] = {
    "struct __sk_buff": ProgType.SOCKET_FILTER,
    "struct xdp_md": ProgType.XDP,
    "struct pt_regs": ProgType.KPROBE,
    "struct bpf_raw_tracepoint_args": ProgType.RAW_TRACEPOINT,
    "struct bpf_perf_event_data": ProgType.PERF_EVENT,
}


def try_programs(source: str, text: str) -> list[RefusedProgram]:
    """Load each function of ``text`` that may be a program, by the type of its argument. Returns the results.
    Raises compile errors that are not about one program."""
    require_capabilities(TRACING, "pytracer explain")
    program_types = {name: kind for name, kind in functions(text) if kind in _KINDS}
    outcome = run_in_child(lambda: _run_child(source, text, program_types))
    if outcome.data:
        kind, payload = json.loads(outcome.data)
        if kind == "error":
            raise BuildError(payload["message"], hint=payload["hint"], detail=payload["detail"])
        return [RefusedProgram(**refused) for refused in payload]
    program = next((name for name in program_types if f"function {name} " in outcome.stderr), source)
    return [
        RefusedProgram(program, "", outcome.stderr or f"the compiler {outcome.exit_reason}", compiler=True)
    ]


def _run_child(source: str, text: str, program_types: Mapping[str, str]) -> bytes:
    """Run the child's side."""
    answer: tuple[str, object]
    try:
        answer = "found", [as_dict(refused) for refused in _load_all(source, text, program_types)]
    except PytracerError as error:
        answer = "error", {"message": error.message, "hint": error.hint, "detail": error.detail}
    return json.dumps(answer).encode()


def _load_all(source: str, text: str, program_types: Mapping[str, str]) -> list[RefusedProgram]:
    from pytracer.bpf.compile.bcc import BccModule
    from pytracer.bpf.compile.headers import find_headers

    module = BccModule(source, text, (), find_headers(text), keep_logs=False)
    with contextlib.closing(module):
        programs = []
        for program, argument in program_types.items():
            kind = _KINDS[argument]
            name = kind.name.lower()
            try:
                module.load(program, kind)
            except VerifierError as error:
                programs.append(RefusedProgram(program, name, error.detail))
            else:
                programs.append(RefusedProgram(program, name, "", passed=True))
        return programs
