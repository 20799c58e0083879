"""pytracer: trace a running Linux kernel and the programs on it, with BCC underneath.

``pytracer.open`` starts a trace from Python; see :mod:`pytracer.api`, :mod:`pytracer.model` for what it
yields, and :mod:`pytracer.errors` for what it raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytracer.api import Trace, open

__version__ = "0.1.0"
__all__ = ["Trace", "__version__", "open"]


def __getattr__(name: str) -> Any:
    """Load the API when it is first used: the command line starts without it."""
    if name in ("Trace", "open"):
        from pytracer import api

        return getattr(api, name)
    raise AttributeError(f"module 'pytracer' has no attribute {name!r}")
