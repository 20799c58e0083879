"""Questions in the language of ``trace`` and ``argdist``: read, checked, and put into C.

Pure: what there is on a kernel comes in as a :class:`~pytracer.lang.scope.Scope`. The C is written from the
checked expression, of our own words and of numbers alone: no character that a user typed is in it.
"""

from pytracer.lang.codegen import Program, compile_question
from pytracer.lang.probe_spec import Answer, Asked, Question, Slot
from pytracer.lang.probe_spec_parser import parse_distribution, parse_trace
from pytracer.lang.scope import Scope, Types

__all__ = [
    "Answer",
    "Asked",
    "Program",
    "Question",
    "Scope",
    "Slot",
    "Types",
    "compile_question",
    "parse_distribution",
    "parse_trace",
]
