"""The running kernel's BTF for a start: read once, and not at all where everything asked for is remembered.

Reading it takes 100 ms, for a handful of numbers of functions that are the same until the kernel is
another. :mod:`pytracer.bpf.cache.type_answers` keeps them from run to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from pytracer.errors import HeadersError
from pytracer.kernel.btf import VMLINUX, Btf, BtfKind


class RunningTypes(Btf):
    """The kernel's types; what :meth:`find` and :meth:`remember` returned before is not looked up again.

    With ``answers`` of an earlier run the BTF is read when something else is asked. Without, it is read at
    once, which shows that this version of pytracer understands it: HeadersError if it does not.
    """

    def __init__(self, answers: dict[str, int]) -> None:
        """``answers`` are those of an earlier run under the same kernel."""
        self.answers = answers
        self.has_new = False
        self.origin = str(VMLINUX)
        if not answers:
            self._read()
            self.remember("number of types", lambda: len(self))  # a start may ask for nothing else
        elif not os.access(VMLINUX, os.R_OK):
            raise HeadersError(f"cannot read kernel types from {VMLINUX}")

    def __getattr__(self, name: str) -> Any:
        """Read the BTF when an attribute that it sets is used for the first time."""
        if name.startswith("__") or "_words" in self.__dict__:
            raise AttributeError(name)
        self._read()
        return getattr(self, name)

    def find(self, kinds: BtfKind | Iterable[BtfKind], name: str) -> int | None:
        """See :meth:`Btf.find`."""
        if not isinstance(kinds, BtfKind) or not name.isidentifier():
            return super().find(kinds, name)
        # 0 is the id of void, which has no name.
        return self.remember(f"{kinds.name} {name}", lambda: Btf.find(self, kinds, name) or 0) or None

    def remember(self, question: str, find: Callable[[], int]) -> int:
        """Return the answer to a question about this BTF (one line), found by ``find`` the first time."""
        if question not in self.answers:
            self.answers[question] = find()
            self.has_new = True
        return self.answers[question]

    def _read(self) -> None:
        self.__dict__.update(Btf.load().__dict__)


_types: RunningTypes | None = None
_recall: Callable[[], dict[str, int]] = dict


def recall_by(recall: Callable[[], dict[str, int]]) -> None:
    """Have ``recall`` called for the answers of earlier runs when types are needed for the first time."""
    global _recall
    _recall = recall


def running_types() -> RunningTypes:
    """Return the types of the running kernel, the same object at every call.

    Raises HeadersError if they cannot be read.
    """
    global _types
    if _types is None:
        _types = RunningTypes(_recall())
    return _types


def read_so_far() -> RunningTypes | None:
    """Return the BTF if :func:`running_types` has read it, else None."""
    return _types
