"""Run programs of languages whose runtimes have USDT probes, as scripts/setup --dev installs them."""

from __future__ import annotations

import os
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
    """Return a command that runs the statements of a main() of Java, with other members of its class behind
    a line of ``---``."""
    statements, _, members = code.partition("---")
    source = folder / "Main.java"
    source.write_text(
        "import java.util.*;\npublic class Main {\n"
        f"public static void main(String[] words) throws Exception {{\n{statements}\n}}\n{members}\n}}\n"
    )
    return ("java", "-Xshare:auto", *options, str(source))


def trace(tracer: str, *words: object, command: tuple[str, ...]) -> Result:
    """Trace a command, without losses; as JSON. The command writes nothing to standard output."""
    result = run(tracer, "-f", "json", *words, "--", *command, env={"PATH": os.defpath})
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result
