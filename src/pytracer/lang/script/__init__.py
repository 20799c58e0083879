"""The language of bpftrace: parse a script, and compile its blocks to C.

Pure, as :mod:`pytracer.lang` is: what a probe passes comes in as a Scope. ``trace`` and ``argdist`` share its
lexer, expressions, types and scopes.

See docs/script.md for the language.
"""

from pytracer.lang.script.block_compiler import BlockCompiler
from pytracer.lang.script.generation import generate_script
from pytracer.lang.script.parser import parse_script
from pytracer.lang.script.program import Action, CompiledBlock, CompiledScript, ScriptMap
from pytracer.lang.script.state import ScriptState
from pytracer.lang.script.syntax import AttachPoint, Script

__all__ = [
    "Action",
    "AttachPoint",
    "BlockCompiler",
    "CompiledBlock",
    "CompiledScript",
    "Script",
    "ScriptMap",
    "ScriptState",
    "generate_script",
    "parse_script",
]
