"""The settings of scripts: ``config = { NAME = VALUE }``, or ``BPFTRACE_NAME`` in the environment."""

from __future__ import annotations

from collections.abc import Mapping

from pytracer.errors import UsageError, suggest_near
from pytracer.record import record

_PREFIX = "bpftrace_"
_LICENSES = (
    "Dual MIT/GPL",
    "Dual BSD/GPL",
    "Dual MPL/GPL",
    "GPL and additional rights",
    "GPL v2",
    "GPL",
)
_UNSTABLE = ("warn", "enable", "error")


@record
class Setting:
    """A setting: its default, and its values if there are few. ``kind`` is ``number``, ``bool`` or ``text``.
    ``least``: of a number."""

    default: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    least: int = 0

    def check(self, text: str) -> str:
        """Return the parsed value of a setting. Raises ValueError, which lists the valid ones."""
        if self.kind == "bool":
            if text.lower() not in ("0", "1", "true", "false"):
                raise ValueError("true or false")
            return str(int(text.lower() in ("1", "true")))
        if self.kind == "number" and (not text.isdecimal() or int(text) < self.least):
            raise ValueError(f"a number from {self.least} on")
        if self.choices and text not in self.choices:
            raise ValueError(", ".join(self.choices))
        return text


def _number(default: int, minimum: int = 1) -> Setting:
    return Setting(str(default), "number", least=minimum)


SETTINGS: Mapping[str, Setting] = {
    "max_strlen": _number(1024),
    "max_map_keys": _number(4096),
    "max_cat_bytes": _number(10240),
    "max_probes": _number(1024),
    "perf_rb_pages": _number(64),
    "print_maps_on_exit": Setting("1", "bool"),
    "str_trunc_trailer": Setting(".."),
    "stack_mode": Setting("bpftrace", choices=("bpftrace", "perf", "raw", "build_id")),
    "show_debug_info": Setting("1", "bool"),
    "missing_probes": Setting("error", choices=("error", "warn", "ignore")),
    "license": Setting("GPL", choices=_LICENSES),
    "unstable_tseries": Setting("warn", choices=_UNSTABLE),
    "dummy_ts_map": Setting(""),  # a map whose value is the time of time series, so that tests can set it
    # These change nothing: names of stacks are always looked up in the same way, and BCC has no such limits.
    "cache_user_symbols": Setting("PER_PID", choices=("PER_PID", "PER_PROGRAM", "NONE", "0", "1")),
    "cpp_demangle": Setting("1", "bool"),
    "lazy_symbolication": Setting("0", "bool"),
    "use_blazesym": Setting("1", "bool"),
    "on_stack_limit": _number(32, 0),
    "log_size": _number(1_000_000, 0),
    "max_bpf_progs": _number(1024),
    "max_ast_nodes": _number(0, 0),
    "unstable_dw_ustack": Setting("warn", choices=_UNSTABLE),
    "unstable_map_decl": Setting("warn", choices=_UNSTABLE),
    "unstable_import": Setting("warn", choices=_UNSTABLE),
    "unstable_addr": Setting("warn", choices=_UNSTABLE),
}
"""The settings by name."""
DEFAULTS = {name: setting.default for name, setting in SETTINGS.items()}


_MAX_STRING, _LONG_STRING = 16384, 1024


def string_room(settings: Mapping[str, str]) -> int:
    """Return the size of a string with its NUL, in bytes. As in bpftrace, the NUL of a short one is not
    counted in max_strlen."""
    size = int(settings["max_strlen"])
    return min(max(size + (size < _LONG_STRING), 2), _MAX_STRING)


def setting_name(text: str) -> str:
    """Return the name of a setting, which may be written as its variable of the environment is."""
    return text.lower().removeprefix(_PREFIX)


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the environment has. Raises UsageError for a value that makes no sense."""
    found = dict[str, str]()
    for variable, text in environment.items():
        name = setting_name(variable)
        if variable.startswith(_PREFIX.upper()) and name in SETTINGS:
            try:
                found[name] = SETTINGS[name].check(text)
            except ValueError as error:
                raise UsageError(f"{variable}={text!r} is no value", hint=f"there is {error}") from None
    return found


def hint_for(name: str) -> str:
    """Return a hint that names settings like ``name``."""
    return suggest_near(name, SETTINGS)
