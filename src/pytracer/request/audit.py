"""Refuse ``--audit`` where the kernel's counter counts something else than the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytracer.errors import UsageError
from pytracer.kernel.counters import COUNTERS
from pytracer.spec import Filter, GroupBy, Tracer


def check_audit(
    tracer: Tracer,
    options: Mapping[str, object],
    filters: Mapping[Filter, tuple[bytes, ...]],
    spell: Callable[[str], str],
    *,
    top: int | None,
    follows: bool,
) -> None:
    """Raise UsageError unless the counter of ``tracer`` counts the same events as these options and filters
    select.

    ``follows``: a command alone is traced. ``spell`` says how the user writes an option's name.
    """
    audit = tracer.audit
    name = spell("audit")
    if audit is None:
        raise UsageError(f"{name}: the kernel has no counter of what {tracer.name} shows")
    source = COUNTERS[audit.counter].source
    if follows:
        hint = f"{spell('load')}, if the command is only to make work"
        raise UsageError(f"{name}: {source} does not count the command alone", hint=hint)
    for filter_, values in filters.items():
        if values and filter_ not in audit.filters:
            raise UsageError(f"{name}: {source} cannot be filtered by {spell(filter_.value)}")
    for option in tracer.options:
        value = options.get(option.name)
        changed = value not in (None, False, getattr(option, "default", None))
        if changed and not isinstance(option, GroupBy) and option.name not in audit.options:
            raise UsageError(f"{name}: with {spell(option.name)}, {source} counts something else")
    if top is not None:
        raise UsageError(f"{name}: {spell('top')} leaves rows out, which {source} counts")
