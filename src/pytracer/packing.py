"""Make a pack: compile every plan that may result on its target kernels."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pytracer.bpf.cache.pack import Pack, PackEntry, btf_digest, digest
from pytracer.bpf.compile.compiler import compile_image
from pytracer.bpf.compile.headers import from_btf
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.image import Image
from pytracer.errors import HeadersError, UnsupportedError, UsageError
from pytracer.kernel.btf import Btf
from pytracer.kernel.btf_facts import BtfKernelInfo
from pytracer.kernel.policy import raise_memlock, require_capabilities
from pytracer.plan import Plan, hooks_of, make_plan
from pytracer.record import record, replace
from pytracer.request import Request
from pytracer.spec import Targets

_PACKAGED = re.compile(r"^#ifdef PT_PACKAGED_HEADERS$.*?^#(?:else|endif)\b", re.M | re.S)


@record
class PackKernel:
    """A kernel to pack for: what people call it, and the file of its BTF."""

    name: str
    path: Path


def make_pack(
    requests: Mapping[str, Request], kernels: Sequence[PackKernel], *, log: Callable[[str], None]
) -> Pack:
    """Compile the programs of the ``requests`` (by command line) for each of the ``kernels``.

    ``log`` is called for each image. Raises UnsupportedError if a kernel does not support a request,
    HeadersError if a file is no BTF, UsageError if there is nothing to compile, and the compiler's errors.
    """
    require_capabilities(["CAP_BPF"], "pytracer pack")  # BCC makes the maps as it compiles
    raise_memlock()
    names = dict[str, str]()
    entries = list[PackEntry]()
    images = dict[bytes, Image]()
    files = {request.tracer.c_file for request in requests.values()}
    texts = {file: read_source(file) for file in files}
    for file, text in texts.items():
        _check_version(file, text)
    for kernel, (btf, key) in [(kernel, _read(kernel)) for kernel in kernels]:
        names[key] = kernel.name
        compiled = dict[tuple[str, ...], Image]()
        for line, request in requests.items():
            text = texts[request.tracer.c_file]
            for plan, programs in _iter_plans(request, btf, kernel):
                # Of macros that the C does not name, every value gives the same image.
                named = [flag for flag in plan.cflags if re.search(rf"\b{_macro_pattern(flag)}\b", text)]
                shape = (text, *programs, "", *named)
                if shape not in compiled:
                    compiled[shape] = _compile(plan, text, programs, kernel)
                    log(f"{kernel.name}: {line}: {' '.join(named)}")
                image = compiled[shape]
                images.setdefault(image.encode(), image)
                number = list(images).index(image.encode())
                entries.append(
                    PackEntry(key, request.tracer.name, line, digest(text), tuple(plan.cflags), number)
                )
    return Pack(names, tuple(dict.fromkeys(entries)), tuple(images.values()))


def _read(kernel: PackKernel) -> tuple[Btf, str]:
    try:
        key = btf_digest(kernel.path)
    except OSError as error:
        raise UsageError(f"cannot read {str(kernel.path)!r}: {error.strerror}") from error
    try:
        btf = Btf.load(kernel.path)
    except HeadersError as error:
        raise HeadersError(
            error.message, hint="--btf takes the /sys/kernel/btf/vmlinux of a kernel, or a copy of it"
        ) from error
    architecture = BtfKernelInfo(btf, runs_compat=False).architecture
    if architecture != os.uname().machine:
        raise UnsupportedError(
            f"{kernel.path} is of a kernel for {architecture or 'another machine'}, "
            "and BCC compiles for its own",
            hint=f"run pytracer pack on {architecture or 'such a machine'}",
        )
    return btf, key


def _iter_plans(request: Request, btf: Btf, kernel: PackKernel) -> Iterator[tuple[Plan, tuple[str, ...]]]:
    """Yield every plan that the kernel may make of the request, and the programs it may load."""
    # What is attached to is said where the pack is run: the programs are the same for all of it.
    request = replace(request, sources=())
    hooks = hooks_of(request)
    alternatives = [
        # Doing without is for kernels that have no way at all, or for who asks for it.
        [
            alternative
            for alternative in hook.alternatives
            if (alternative.probes or hook.name in request.hooks)
            and alternative.is_called(request.hooks.get(hook.name, alternative.name))
        ]
        for hook in hooks
    ]
    any_planned, problem = False, None
    for choice in itertools.product(*alternatives):
        forced = dict(request.hooks) | {
            hook.name: alternative.name for hook, alternative in zip(hooks, choice, strict=True)
        }
        programs = dict.fromkeys(probe.program for alternative in choice for probe in alternative.probes)
        if request.tracer.arguments is not None:
            programs |= dict.fromkeys(request.tracer.arguments.functions)
        for compat in (True, False):
            try:
                plan = make_plan(replace(request, hooks=forced), BtfKernelInfo(btf, runs_compat=compat))
            except UnsupportedError as error:
                problem = problem or error
                continue
            if plan.program != "c":
                raise UsageError(f"--program {plan.program} takes no compiler, and so no pack")
            any_planned = True
            yield plan, tuple(programs)
            if isinstance(request.tracer.arguments, Targets) and request.tracer.arguments.enter:
                tracked = replace(plan, defines=tuple(sorted((*plan.defines, ("PT_TRACKED", "")))))
                yield tracked, (*programs, request.tracer.arguments.enter)
    if not any_planned:
        reason = problem.message if problem else "no alternative of a hook bears the name that was given"
        skipped_hooks = [
            f"{hook.name}={item.name}" for hook in hooks for item in hook.alternatives if not item.probes
        ]
        does_without = f"; --hook {' --hook '.join(skipped_hooks)} does without" if skipped_hooks else ""
        raise UnsupportedError(
            f"{request.tracer.name} cannot be packed for {kernel.name}: {reason}",
            hint=f"--hook takes alternatives that do not go by trace events{does_without}",
        )


def _compile(plan: Plan, text: str, programs: Sequence[str], kernel: PackKernel) -> Image:
    headers = from_btf(text, kernel.path)
    image = compile_image("", plan.request.tracer.c_file, text, tuple(plan.cflags), headers, programs)
    # The same for every kernel where it is the same: what it is for, the entries say.
    return replace(image, kernel="", made_by=())


def _check_version(name: str, text: str) -> None:
    if re.search(r"\bLINUX_VERSION_CODE\b", _PACKAGED.sub("", text)):
        raise UnsupportedError(
            f"{name} asks for the kernel's version, which BTF does not say",
            hint="this tracer cannot be packed",
        )


def _macro_pattern(flag: str) -> str:
    return re.escape(flag.removeprefix("-D").partition("=")[0])
