"""Read what a process was started with, or find out what a command will be."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pytracer.kernel.facts import ProcessStart
from pytracer.procfs import living
from pytracer.symbols import commands, dynamic_linker, memory_maps
from pytracer.text import from_bytes

_ROOM = 1 << 20  # bytes of words, or of an environment


def start_of(process: int, command: Sequence[str] = ()) -> ProcessStart:
    """Return the files with code, the words and the environment of a process, or (0) of a command.

    Raises OSError.
    """
    if process:
        mappings = memory_maps.parse(memory_maps.read_code(process))
        files = tuple(dict.fromkeys(mapping.path for mapping in mappings if mapping.inode))
        folder = memory_maps.PROC / str(living(process))
        return ProcessStart(
            files, _read_words(folder / "cmdline"), _variables(_read_words(folder / "environ"))
        )
    execution = commands.find_execution(command)
    paths = dynamic_linker.loaded(dynamic_linker.program_of(execution), execution.environment)
    files = (*paths, *dynamic_linker.opened_later(paths))
    return ProcessStart(tuple(map(os.path.realpath, files)), tuple(command), execution.environment)


def _read_words(path: os.PathLike[str]) -> tuple[str, ...]:
    with open(path, "rb", buffering=0) as file:
        return tuple(map(from_bytes, file.read(_ROOM).split(b"\0")))


def _variables(words: Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name: value for name, _, value in pairs}
