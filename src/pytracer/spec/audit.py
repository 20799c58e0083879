"""The counters of the kernel that tracers are held against with ``--audit``."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.filters import Filter


@record
class Audit:
    """Names the counter that the kernel keeps of the same.

    ``counter`` is the name of one in :mod:`pytracer.kernel.counters`. It is compared with the number of
    events, or with the sum of ``column``. ``options`` and ``filters`` are those that may be given: the
    counter has them, or they change nothing of what is counted. ``tolerance`` says why the two may differ
    where nothing is wrong.
    """

    counter: str
    column: str = ""
    options: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    tolerance: str = ""
