"""Run programs of languages whose runtimes have USDT probes, as scripts/setup --dev installs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.cli import Result, run

PYTHON = "/usr/bin/python3"
"""The distribution's, which carries probes; whatever runs the tests need not."""
BARE_PYTHON = (PYTHON, "-S", "-I")
RUBY = ("ruby", "--disable-gems")


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs code of Python, and ends without what the interpreter does at its end."""
    return (*BARE_PYTHON, "-c", f"import os\n{code}\nos._exit(0)")


def java(folder: Path, code: str, *options: str) -> tuple[str, ...]:
    """Compile the statements of a main() of Java, with other members of its class behind ``---``; return the
    command that runs them."""
    statements, _, members = code.partition("---")
    source = folder / "Main.java"
    main = f"public static void main(String[] words) throws Exception {{\n{statements}\n}}"
    source.write_text(f"public class Main {{\n{main}\n{members}\n}}\n")
    subprocess.run(["javac", "-d", str(folder), str(source)], check=True)
    return ("java", *options, "-cp", str(folder), "Main")


def trace(tracer: str, *words: object, command: tuple[str, ...]) -> Result:
    """Trace a command, without losses; as JSON. The command writes nothing to standard output."""
    result = run(tracer, "-f", "json", *words, "--", *command, env={"PATH": os.defpath})
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result
