"""Read the files that a script imports, and parse all of it."""

from __future__ import annotations

import stat
from pathlib import Path

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang.script import Script, parse_script
from pytracer.lang.script.syntax import Import

_LIMIT = 1 << 20  # bytes of a script
_SUFFIX = ".bt"


def parse_script_file(text: str, name: str) -> Script:
    """Parse a script that was read from the file ``name`` (``stdin``: from none), with its imports.

    Raises ProbeSpecError, which points into the script.
    """
    script = parse_script(text, name)
    if not script.imports:
        return script
    imported = dict[Path, str]()
    _collect(script, Path(name).parent, imported)
    files = [(str(path), content) for path, content in imported.items()]
    return parse_script(text, name, imported=files)


def _collect(script: Script, folder: Path, imported: dict[Path, str]) -> None:
    """Add the imports of a script, depth first."""
    for statement in script.imports:
        try:
            paths = _find(statement, folder)
        except (UsageError, OSError) as error:
            message = (
                error.message if isinstance(error, UsageError) else f"{statement.path}: {error.strerror}"
            )
            raise ProbeSpecError(message, script.text, statement.start, statement.end) from None
        for path in paths:
            if path in imported:
                continue
            imported[path] = ""  # it may import what imports it
            text = path.read_bytes()[:_LIMIT].decode(errors="surrogateescape")
            inner = parse_script(text, str(path), is_imported=True)
            _collect(inner, path.parent, imported)
            del imported[path]
            imported[path] = text


def _find(statement: Import, folder: Path) -> list[Path]:
    """Return the files that an import names: one, or those of a folder. Raises UsageError or OSError."""
    path = (folder / statement.path).resolve(strict=True)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix == _SUFFIX)
        others = [file.name for file in path.iterdir() if file.name.endswith((".h", ".c"))]
        if others:
            raise UsageError(f"{others[0]}: C cannot be imported: types come from BTF")
    else:
        files = [path]
    for file in files:
        if file.suffix != _SUFFIX:
            raise UsageError(f"{statement.path}: only {_SUFFIX} files can be imported; types come from BTF")
        if file.parent.stat().st_mode & stat.S_IWOTH:
            raise UsageError(f"{statement.path}: anybody may write to its folder")
    return files
