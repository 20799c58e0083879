"""Compile C by BCC into a module: maps and programs by name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pytracer.bpf.cache.image_cache import compiler_identity
from pytracer.bpf.compile import bpf_loop, layout_check
from pytracer.bpf.compile.diagnostics import make_build_error
from pytracer.bpf.compile.headers import Headers
from pytracer.bpf.compile.line_table import Line, LineTableFunction, encode, placeholder_code, read_back
from pytracer.bpf.compile.stderr_capture import capture_stderr
from pytracer.bpf.image import Image, ImageError, MapSpec, unlink_maps
from pytracer.bpf.line_info import load_btf
from pytracer.bpf.load.loader import Loader
from pytracer.bpf.load.tail_calls import TailCalls, functions, tail_call_targets
from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, ProgType
from pytracer.bpf.toolchain import import_bcc
from pytracer.errors import SchemaError
from pytracer.inherited import require_descriptors
from pytracer.kernel.policy import raise_memlock

# The template of a map of maps: BCC has no function that returns it.
_OF_MAPS = re.compile(r'\bBPF_(?:ARRAY|HASH)_OF_MAPS\s*\(\s*(\w+)\s*,[^;]*?"(\w+)"')
# Warnings about the kernel's own headers.
_FLAGS = ("-Wno-address-of-packed-member", "-Wno-duplicate-decl-specifier", "-Wno-macro-redefined")
# BCC compiles a call of a function that is not there to a jump out of the program, which only the verifier
# refuses. The kernel's own headers may declare functions that they do not define.
_NO_SUCH_FUNCTION = "-Werror=implicit-function-declaration"
_NO_BODY = "-Werror=undefined-internal"
_DESCRIPTORS = 24  # opened by a compile: without free ones libbcc 0.26 crashes, or reports errors in the C


class BccModule:
    """C compiled by BCC for the types that ``headers`` give."""

    def __init__(
        self, name: str, text: str, cflags: Sequence[str], headers: Headers, *, keep_logs: bool = True
    ) -> None:
        """Compile ``text``. Raises BuildError (SchemaError if member offsets are wrong).

        ``keep_logs``: see :class:`~pytracer.bpf.load.loader.Loader`.
        """
        self.name = name
        require_descriptors(_DESCRIPTORS)
        self._bcc = import_bcc()
        checks = layout_check.check_functions(headers.checks)
        flags = [*_FLAGS, _NO_SUCH_FUNCTION, *headers.cflags, *cflags]
        # Types private to the kernel's .c files must be declared again if they do not come from BTF.
        flags.append(_NO_BODY if headers.source == "btf" else "-DPT_PACKAGED_HEADERS")
        self._text = text
        self._loader = Loader(name, keep_logs=keep_logs)
        raise_memlock()
        self._bpf = _compile(self._bcc, name, text + checks, flags, headers.path)
        try:
            layout_check.verify_all(self._dump_compiled, headers.checks)
            self._specs = self._read_specs()
            self._maps = {
                name: Map.of(spec, fd, spec.max_entries) for name, (spec, fd) in self._specs.items()
            }
            self._tails = TailCalls(self._maps, self._function_names())
        except BaseException:
            self.close()
            raise

    @property
    def maps(self) -> dict[str, Map]:
        """See :class:`~pytracer.bpf.load.module.Module`."""
        return self._maps

    def readers(self, name: str) -> Collection[str]:
        """See :class:`~pytracer.bpf.load.module.Module`. Not known before the image is made: all of them."""
        return self._function_names() if name in self._maps else ()

    def load(self, program: str, kind: ProgType, attach_type: int = 0, **attributes: Any) -> int:
        """See :class:`~.module.Module`. Raises VerifierError, or the error that explains the kernel's
        refusal."""
        parts = bpf_loop.collect_bodies(program, self._dump)
        btf, line_infos = encode({program: self._functions(parts)})
        descriptor = load_btf(btf)
        try:
            code, line_info = bpf_loop.link_bodies(parts), line_infos[program]
            loaded_fd = self._loader.load(
                program, code, kind, attach_type, btf=descriptor, line_info=line_info, **attributes
            )
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        referenced_maps = unlink_maps(program, code, self._names).references.values()
        self._tails.fill(
            referenced_maps, lambda name: self.load(name, kind, attach_type, **tail_call_targets(attributes))
        )
        return loaded_fd

    def image(self, key: str, programs: Sequence[str]) -> Image:
        """Make an image of these programs and all maps. Raises ImageError if that is impossible."""
        specs = tuple(spec for spec, _ in self._specs.values())
        function_names = self._function_names()
        arrays = [spec for spec in specs if spec.type == MapType.PROG_ARRAY]
        tails = [
            name for spec in arrays for _, name in functions(spec.name, spec.max_entries, function_names)
        ]
        for program in programs:
            if program not in function_names:
                own_functions = sorted(
                    function for function in function_names if not function.startswith(layout_check.FUNCTION)
                )
                raise SchemaError(
                    f"{self.name} has no program {program}, which the declaration names",
                    hint=f"programs: {', '.join(own_functions) or 'none'}; #if may have left it out",
                )
        programs = list(dict.fromkeys([*programs, *tails]))
        parts = {name: bpf_loop.collect_bodies(name, self._dump) for name in programs}
        btf, line_infos = encode({name: self._functions(bodies) for name, bodies in parts.items()})
        code = tuple(
            unlink_maps(name, bpf_loop.link_bodies(bodies), self._names, line_infos[name])
            for name, bodies in parts.items()
        )
        try:
            made_by = compiler_identity()
        except ImageError:  # the image can be used now, but not cached
            made_by = ()
        return Image(key, os.uname().release, made_by, specs, code, btf)

    def close(self) -> None:
        """See :class:`~pytracer.bpf.load.module.Module`."""
        self._loader.close()
        for function in self._bpf.funcs.values():
            with contextlib.suppress(OSError):
                os.close(function.fd)
        self._bpf.funcs.clear()
        self._bpf.cleanup()

    @property
    def _names(self) -> dict[int, str]:
        """The names of the maps by their descriptors."""
        return {fd: name for name, (_, fd) in self._specs.items()}

    def _function_names(self) -> set[str]:
        """Return the names of the functions that BCC compiled."""
        lib, module = self._bcc.lib, self._bpf.module
        lib.bpf_function_name.restype = ctypes.c_char_p
        numbers = range(lib.bpf_num_functions(module))
        return {lib.bpf_function_name(module, number).decode() for number in numbers}

    def _dump(self, program: str) -> bytes:
        """Return the bytecode of a function."""
        descriptors = {name: descriptor for descriptor, name in self._names.items()}
        return bpf_loop.link_maps(self._dump_compiled(program), descriptors)

    def _dump_compiled(self, program: str) -> bytes:
        """Return the bytecode of a function as BCC compiled it."""
        return bytes(self._bpf.dump_func(program.encode()))

    def _functions(self, parts: Sequence[bpf_loop.LoopBody]) -> list[LineTableFunction]:
        """Return the line table of a program's functions."""
        return [
            LineTableFunction(part.name, part.at, part.place_lines(self._lines(part.name))) for part in parts
        ]

    def _lines(self, program: str) -> list[Line]:
        """Return the lines of a function; none if the kernel does not return them."""
        code = placeholder_code(len(self._dump(program)) // 8)
        buffer, kind = ctypes.create_string_buffer(code, len(code)), int(ProgType.SOCKET_FILTER)
        any_attach_type = 0xFFFFFFFF  # -1 for BCC
        with capture_stderr():  # hides libbcc's message about kernels that are too old for line tables
            descriptor = self._bcc.lib.bcc_func_load(
                self._bpf.module, kind, program.encode(), buffer, len(code), b"GPL", 0, 0, None, 0, None,
                any_attach_type,
            )  # fmt: skip
        if descriptor < 0:
            return []
        try:
            return read_back(descriptor, self._text)
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _read_specs(self) -> dict[str, tuple[MapSpec, int]]:
        """Return the spec of each map that BCC created, and its descriptor."""
        lib, module = self._bcc.lib, self._bpf.module
        for function, result in (
            ("bpf_num_tables", ctypes.c_size_t),
            ("bpf_table_name", ctypes.c_char_p),
            ("bpf_table_fd_id", ctypes.c_int),
            ("bpf_table_key_desc_id", ctypes.c_char_p),
            ("bpf_table_leaf_desc_id", ctypes.c_char_p),
            ("bpf_table_key_size_id", ctypes.c_size_t),
            ("bpf_table_leaf_size_id", ctypes.c_size_t),
        ):
            getattr(lib, function).restype = result
        specs = {}
        inner = dict(_OF_MAPS.findall(self._text))
        for number in range(lib.bpf_num_tables(ctypes.c_void_p(module))):
            arguments = (ctypes.c_void_p(module), ctypes.c_size_t(number))
            name = lib.bpf_table_name(*arguments).decode()
            spec = MapSpec(
                name=name,
                type=lib.bpf_table_type_id(module, number),
                key_size=lib.bpf_table_key_size_id(*arguments),
                value_size=lib.bpf_table_leaf_size_id(*arguments),
                max_entries=lib.bpf_table_max_entries_id(module, number),
                flags=lib.bpf_table_flags_id(module, number),
                key_type=lib.bpf_table_key_desc_id(*arguments).decode(),
                value_type=lib.bpf_table_leaf_desc_id(*arguments).decode(),
                inner=inner.get(name, ""),
            )
            specs[name] = spec, lib.bpf_table_fd_id(*arguments)
        return specs


def _compile(bcc: ModuleType, name: str, text: str, cflags: Sequence[str], source: Path) -> Any:
    """Return a bcc.BPF object. BCC prints clang's messages; the first error becomes the one of BuildError."""
    log = None
    try:
        with capture_stderr() as log, _kernel_source(source):
            return bcc.BPF(text=text.encode(), cflags=list(cflags))
    except Exception as problem:  # BCC raises bare Exception
        diagnostics = log.text if log is not None else ""
        raise make_build_error(name, diagnostics, str(problem)) from problem


@contextlib.contextmanager
def _kernel_source(path: Path) -> Iterator[None]:
    """Set BCC's environment variable to the folder of the kernel's types.

    BCC also lets clang search the current folder first, where anybody may have put a linux/sched.h: while it
    compiles, the current folder is that of the types.
    """
    saved = os.environ.get("BCC_KERNEL_SOURCE")
    os.environ["BCC_KERNEL_SOURCE"] = str(path)
    current_folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(path)
        yield
    finally:
        os.fchdir(current_folder)
        os.close(current_folder)
        if saved is None:
            del os.environ["BCC_KERNEL_SOURCE"]
        else:
            os.environ["BCC_KERNEL_SOURCE"] = saved
