"""Report attach points of scripts that match nothing, in the words of bpftrace."""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.errors import ProbeSpecError, PytracerError, UsageError
from pytracer.lang.script import AttachPoint, Script
from pytracer.lang.script.positions import warning_at
from pytracer.lang.script.syntax import ProbeBlock
from pytracer.plan.named_target import NumberedTarget
from pytracer.plan.script_probes import SOURCES
from pytracer.request import Request

TOLERANT = ("warn", "ignore")
"""Values of the setting ``missing_probes`` with which the others are attached."""
_WARN = "warn"
PROVIDER_NAMES = {kind: provider for provider, kind in reversed(SOURCES.items())}
"""The whole names of providers, by the kind of source."""
_NONE_VALID = (
    "Probe has no valid attach points. "
    "If this is expected, set the 'missing_probes' config variable to 'warn'."
)
_PART, _OF_KERNEL = ".part.", ("k", "kr", "f", "fr")
_UNTRACEABLE = 'either non-existing, inlined, or marked as "notrace"'


def no_matches(point: AttachPoint) -> str:
    """Return the message about an attach point that matches nothing."""
    provider, _, rest = point.text.partition(":")
    return f"No matches for {PROVIDER_NAMES[SOURCES[provider]]} {rest}."


def traceable_among(
    targets: Sequence[NumberedTarget], request: Request, point: AttachPoint, warnings: list[str]
) -> list[NumberedTarget]:
    """Return the targets that the user lists as traceable; all if there is no list, or with a warning if the
    user allows what is unsafe. Raises UsageError.

    A pattern does not match the parts that the compiler split off functions, as in bpftrace: a call would
    count twice.
    """
    source = targets[0].source
    if source.kind in _OF_KERNEL and source.is_pattern and _PART not in source.name:
        targets = [target for target in targets if _PART not in target.target.function] or targets
    listed = request.script.traceable if request.script is not None else None
    if request.script is None or listed is None or source.kind not in ("k", "kr"):
        return list(targets)
    found = [target for target in targets if target.target.function in listed]
    if not found and request.script.unsafe:
        warnings.append(_warn_untraceable(request.script.script, point))
        return list(targets)
    if not found:
        raise UsageError("the list of traceable functions does not have it")
    return found


def report_missing(
    script: Script, point: AttachPoint, error: PytracerError, warnings: list[str], *, unsafe: bool
) -> ProbeSpecError | None:
    """Append the warnings about an attach point that matches nothing to ``warnings``, and return the error;
    None if the script's settings allow it to be missing. ``unsafe``: the user allows to try it."""
    setting = script.config.get("missing_probes")
    place = script.text, script.files, point.start, point.end
    function = point.parts[-1]
    if setting != "ignore" and SOURCES[point.parts[0]] in ("k", "kr") and not set(function) & set("*?["):
        warnings.append(_warn_untraceable(script, point))
    if setting in TOLERANT:
        warnings += [warning_at(*place, f"{no_matches(point)} Skipping.")] * (setting == _WARN)
        return None
    hint = f"{error.message}: {error.hint}" if error.hint else error.message
    in_kernel = SOURCES[point.parts[0]] in ("k", "kr")
    message = f"Unable to attach probe: {point.text}" if unsafe and in_kernel else no_matches(point)
    if set(point.text) & set("*?[") or (SOURCES[point.parts[0]] == "rt" and len(point.parts) == 2):
        message = _NONE_VALID
    return ProbeSpecError(message, script.text, point.start, point.end, hint=hint)


def _warn_untraceable(script: Script, point: AttachPoint) -> str:
    message = f"{point.parts[-1]} is not traceable ({_UNTRACEABLE}); attaching to it will likely fail"
    return warning_at(script.text, script.files, point.start, point.end, message)


def report_removed(script: Script, block: ProbeBlock, warnings: list[str]) -> None:
    """Append a warning about a probe all of whose attach points are missing, if the settings ask for it."""
    if script.config.get("missing_probes") == _WARN:
        message = (
            "Probe has no valid attach points. It is being removed which may cause issues with program "
            "behavior."
        )
        place = script.text, script.files, block.start, block.points[-1].end
        warnings.append(warning_at(*place, message))
