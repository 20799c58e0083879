"""Compile programs of several languages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_COMMANDS = {
    "c": ("gcc", "-O1"),
    "cc": ("g++", "-O1"),
    "go": ("go", "build"),
    "rs": ("rustc", "-O", "--crate-name", "program"),
    "s": ("gcc", "-nostartfiles"),
}


def compile_files(folder: Path, sources: dict[str, str], *options: str, output: str = "program") -> Path:
    """Compile sources, by their path in the folder, by the compiler for the first. Returns the path of the
    program."""
    for path, text in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    language = next(iter(sources)).rpartition(".")[2]
    files = [path for path in sources if path.endswith(f".{language}")]
    environment = {**os.environ, "GO111MODULE": "off", "CGO_ENABLED": "0"}
    command = [*_COMMANDS[language], "-o", output, *options, *files]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder / output


def perf_attr(folder: Path, members: str) -> bytes:
    """Return a struct perf_event_attr with these members, as a compiler lays it out: ``.mmap = 1, .comm =
    1``."""
    source = f"""#include <linux/perf_event.h>
#include <time.h>
#include <unistd.h>
int main(void)
{{
    struct perf_event_attr attr = {{ {members} }};
    return write(1, &attr, attr.size) < 0;
}}
"""
    program = compile_files(folder, {"attr.c": source})
    return subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout
