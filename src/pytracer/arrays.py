"""NumPy, imported on first use.

The import takes longer than all the rest of a start, and is not needed before there is something to show:
then the probes are attached, and it loads while they count.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pytracer.signal_mask import signals_blocked
from pytracer.startup import without_blas_threads

__all__ = ["Array", "is_loaded", "load", "np"]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
else:

    class _Numpy:
        """A proxy for the module, which imports it when an attribute is first read."""

        def __getattr__(self, name: str) -> Any:
            value = getattr(_import_numpy(), name)
            setattr(self, name, value)
            return value

    np = _Numpy()
    Array = Any


def load() -> None:
    """Load it now."""
    _import_numpy()


def is_loaded() -> bool:
    """Return whether it is loaded."""
    return _module is not None


_module: ModuleType | None = None


def _import_numpy() -> ModuleType:
    global _module
    if _module is None:
        with signals_blocked(), without_blas_threads():  # its threads are to take none
            # Not from sys.modules, where it stands while another thread still imports it: this waits.
            _module = importlib.import_module("numpy")
    return _module
