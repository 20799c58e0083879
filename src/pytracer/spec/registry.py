"""Find tracers: modules of ``pytracer.tracers``, entry points of that group, files in the user's folders.

A module that assigns ``TRACER`` is a tracer. Nothing registers itself at import; there is no list to edit.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import stat
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytracer.errors import PytracerError, UnknownNameError, UsageError
from pytracer.record import replace
from pytracer.spec.peer_tools import find_equivalent
from pytracer.spec.tracer import Tracer

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

GROUP = "pytracer.tracers"
VARIABLE = "PYTRACER_PATH"
"""Environment variable: folders of tracers, separated by colons."""

RESERVED = {
    *("cache", "completion", "diff", "doctor", "explain", "help", "list", "list-probes"),
    *("man", "pack", "prog", "run", "schema", "script", "serve"),
}
"""The names of pytracer's commands: a tracer of such a name could not be run."""

_LITERAL = re.compile(r'\n    (group|summary)="([^"\\\n]*)",(?=\n)')
_added: list[Path] = []
_Loaded = TypeVar("_Loaded")


class TracerSummary(NamedTuple):
    """The line of a tracer in ``pytracer list``."""

    name: str
    group: str
    summary: str

    @classmethod
    def of(cls, tracer: Tracer) -> TracerSummary:
        """Return the summary of a declaration."""
        return cls(tracer.name, tracer.group, tracer.summary)


def add_folder(folder: str | os.PathLike[str]) -> None:
    """Search a folder for tracers, before those of :data:`VARIABLE`.

    Each ``NAME.py`` in it that assigns ``TRACER`` is a tracer, and ``NAME.c`` beside it is its C file unless
    the declaration names another.

    Raises:
        UsageError: there is no such folder, or others than root and the caller may write in it.
    """
    from pathlib import Path

    path = Path(folder).absolute()
    _check_trusted(path)
    if path not in _added:
        _added.append(path)


def added_folders() -> tuple[Path, ...]:
    """Return the folders of :func:`add_folder`."""
    return tuple(_added)


def names() -> list[str]:
    """List the names of all tracers, sorted, without importing one."""
    files = (file for folder in _own_folders() for file in os.listdir(folder))  # noqa: PTH208
    own = (file.removesuffix(".py") for file in files if file.endswith(".py") and not file.startswith("_"))
    return sorted({*own, *_user_files(), *_entry_points()})


def get(name: str) -> Tracer:
    """Load the tracer called ``name``: pytracer's own, else from the user's folders, else an entry point.

    Raises:
        UnknownNameError: there is none; it suggests similar names, or what does the same.
        UsageError: its file may not be trusted, or cannot be executed.
    """
    if _own_file(name):
        return _own(name)
    if name in (files := _user_files()):
        return _load_file(files[name])
    if name in (points := _entry_points()):
        return _load_point(points[name])
    equivalent = find_equivalent(name, names())
    hint = f"pytracer {equivalent} does it" if equivalent else ""
    raise UnknownNameError("tracer", name, names(), hint=hint, where_listed="pytracer list")


def all_tracers(on_error: Callable[[PytracerError], None] | None = None) -> list[Tracer]:
    """Load every tracer, sorted by name.

    ``on_error`` gets the error of each tracer that cannot be loaded; without it the first one is raised.
    """
    return _load_each(get, on_error)


def summaries(on_error: Callable[[PytracerError], None] | None = None) -> list[TracerSummary]:
    """List all tracers, sorted by name; those of pytracer are not loaded, which would take most of the time.

    ``on_error``: see :func:`all_tracers`.
    """
    return _load_each(lambda name: _read_summary(name) or TracerSummary.of(get(name)), on_error)


def _load_each(
    load: Callable[[str], _Loaded], on_error: Callable[[PytracerError], None] | None
) -> list[_Loaded]:
    """Return what ``load`` returns for the name of each tracer; ``on_error``: see :func:`all_tracers`."""
    loaded = list[_Loaded]()
    for name in names():
        try:
            loaded.append(load(name))
        except PytracerError as error:
            if on_error is None:
                raise
            on_error(error)
    return loaded


def _read_summary(name: str) -> TracerSummary | None:
    """Read the summary of one of pytracer's own tracers in its file, where group and summary are literals on
    lines of their own; None if it is not one, or has them otherwise."""
    file = _own_file(name)
    if not file:
        return None
    with open(file, encoding="utf-8") as declaration:
        found = _LITERAL.findall(declaration.read())
    fields = dict(found)
    is_plain = len(found) == len(fields) == 2
    return TracerSummary(name, fields["group"], fields["summary"]) if is_plain else None


def _own(name: str) -> Tracer:
    try:
        module = importlib.import_module(f"{GROUP}.{name}")
        return _tracer_of(module, str(module.__file__))
    except (TypeError, SyntaxError, NameError, AttributeError) as error:
        raise _explain(error, _own_file(name)) from error


def _load_point(point: EntryPoint) -> Tracer:
    try:
        tracer = _tracer_of(point.load(), point.value)
    except PytracerError:
        raise
    except (Exception, SystemExit) as error:
        raise _explain(error, _raised_in(error) or point.value) from error
    _check(tracer, point.value)
    return tracer


def _raised_in(error: BaseException) -> str:
    """Return the file of the innermost frame that is no part of pytracer, "" if there is none."""
    raised_in, trace = "", error.__traceback__
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - imports no pathlib
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("/") and not file.startswith(package):
            raised_in = file
        trace = trace.tb_next
    return raised_in


def _explain(error: BaseException, file: str) -> UsageError:
    from pytracer.spec import declaration  # for mistakes alone

    return declaration.explain(error, file)


def _check(tracer: Tracer, file: str) -> None:
    from pytracer.spec import declaration  # for tracers from outside the package alone

    if tracer.name in RESERVED:
        raise UsageError(
            f"{file}: {tracer.name!r} is the name of a command of pytracer",
            hint="give the file and the tracer another name",
        )
    declaration.check(tracer, file)


def _tracer_of(module: object, file: str) -> Tracer:
    tracer = getattr(module, "TRACER", module) if isinstance(module, ModuleType) else module
    if not isinstance(tracer, Tracer):
        hint = "the name of a file that declares no tracer begins with _"
        raise UsageError(f"{file} assigns no Tracer to TRACER", hint=hint)
    return tracer


def _own_folders() -> list[str]:
    return list(importlib.import_module(GROUP).__path__)


def _own_file(name: str) -> str:
    """Return the file of one of pytracer's own tracers, "" if there is none."""
    if not name.isidentifier() or name.startswith("_"):
        return ""
    files = (os.path.join(folder, f"{name}.py") for folder in _own_folders())  # noqa: PTH118
    return next((file for file in files if os.path.isfile(file)), "")  # noqa: PTH113


def _entry_points() -> dict[str, EntryPoint]:
    if not _may_have_entry_points():
        return {}
    import importlib.metadata

    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _may_have_entry_points() -> bool:
    """Return False if no installed package declares an entry point of the group.

    This looks at the files that importlib.metadata would parse, which takes longer to load than all else that
    lists tracers. Where packages may be elsewhere (zip files, eggs, other finders), it returns True.
    """
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    if finders != [PathFinder]:
        return True
    for entry in dict.fromkeys(sys.path):
        try:
            children = os.listdir(entry or ".")  # noqa: PTH208 - as importlib.metadata lists it
        except NotADirectoryError:
            return True
        except OSError:  # importlib.metadata passes over it, too
            continue
        if entry.endswith(".egg"):
            return True
        for child in children:
            if child.lower().endswith((".dist-info", ".egg-info")) and _declares_group(entry, child):
                return True
    return False


def _declares_group(entry: str, child: str) -> bool:
    """Return whether an installed package may have entry points of the group."""
    try:
        with open(os.path.join(entry, child, "entry_points.txt"), "rb") as file:  # noqa: PTH118
            return GROUP.encode() in file.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _user_files() -> dict[str, Path]:
    """Map each tracer's name in the user's folders to its file; earlier folders go before later ones."""
    files = dict[str, "Path"]()
    named = [path for path in os.environ.get(VARIABLE, "").split(":") if path]
    if not named and not _added:
        return {}
    from pathlib import Path  # takes a tenth of the time to list tracers

    paths = [Path(path).absolute() for path in named]
    for folder in (*_added, *paths):
        for file in sorted(folder.glob("*.py")):
            if file.stem.isidentifier() and not file.stem.startswith(("_", "test_", "conftest")):
                files.setdefault(file.stem, file)
    return files


def _load_file(file: Path) -> Tracer:
    """Execute a declaration outside the package, whose C file is beside it."""
    _check_trusted(file.parent)
    _check_trusted(file)
    spec = importlib.util.spec_from_file_location(f"{GROUP}.{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _explain(error, str(file)) from error
    tracer = _tracer_of(module, str(file))
    if tracer.name != file.stem:
        raise UsageError(f"{file} declares {tracer.name!r}", hint="a tracer is named like its file")
    _check(tracer, str(file))
    return replace(tracer, source=str(file.parent / tracer.c_file))


def _check_trusted(path: Path) -> None:
    """Refuse code that others than root and the caller could have written: it runs with our privileges."""
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    trusted = {0, os.geteuid()}
    if (invoker := os.environ.get("SUDO_UID", "")).isdecimal():
        trusted.add(int(invoker))
    if status.st_uid not in trusted:
        raise UsageError(f"{path} belongs to another user (uid {status.st_uid}), so its code is not run")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(
            f"{path} can be written by others, so its code is not run", hint=f"chmod go-w {path}"
        )
