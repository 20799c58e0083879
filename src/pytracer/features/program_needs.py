"""Predict whether a program can be loaded, before it is compiled: by the table of its helpers, map types and
fields.

A trial program calls one helper, or reads the fields of the context; it is loaded, never attached.
Features that every kernel of the version has are not tried.
"""

from __future__ import annotations

from typing import Protocol

from pytracer.bpf.attach.kind import LoadAttributes
from pytracer.bpf.prober import require_answer
from pytracer.bpf.trial import context_refusal, helper_refusal
from pytracer.features.map_probe import create_map
from pytracer.features.table import helpers, map_types
from pytracer.features.table.feature import Feature
from pytracer.features.table.helpers import TRACING_TYPES, Helper
from pytracer.features.table.uses import REPLACEMENTS, ProgramUses
from pytracer.kernel import kconfig


class NeedsInfo(Protocol):
    """A kernel that answers which helpers, map types and fields programs may use."""

    def may_call(self, attributes: LoadAttributes, number: int) -> bool:
        """Return whether a program that is loaded so may call a helper."""
        ...

    def may_read(self, attributes: LoadAttributes, fields: tuple[tuple[int, int], ...]) -> bool:
        """Return whether such a program may read all these fields of its context."""
        ...

    def has_map_type(self, number: int) -> bool:
        """Return whether a small map of this type can be created."""
        ...


class ProgramNeeds:
    """Tries each need once."""

    def __init__(self) -> None:
        """Create the prober; trials run on demand."""
        self._calls: dict[tuple[LoadAttributes, int], bool] = {}
        self._reads: dict[tuple[LoadAttributes, tuple[tuple[int, int], ...]], bool] = {}
        self._maps: dict[int, bool] = {}

    def may_call(self, attributes: LoadAttributes, number: int) -> bool:
        """Return whether a program that is loaded so may call a helper; True if that cannot be tried."""
        helper = helpers.BY_NUMBER.get(number)
        if helper is not None and is_implied(helper, attributes.type):
            return True
        key = attributes, number
        if key not in self._calls:
            try:
                refusal = helper_refusal(
                    attributes.type, number, attach_type=attributes.attach_type, btf_id=attributes.btf_id
                )
            except OSError as error:
                require_answer(error)
                refusal = ""  # a policy: loading explains it
            self._calls[key] = not refusal
        return self._calls[key]

    def may_read(self, attributes: LoadAttributes, fields: tuple[tuple[int, int], ...]) -> bool:
        """Return whether such a program may read all these fields of its context; True if that cannot be
        tried."""
        key = attributes, fields
        if key not in self._reads:
            try:
                refusal = context_refusal(
                    attributes.type,
                    fields,
                    attributes.result,
                    attach_type=attributes.attach_type,
                    btf_id=attributes.btf_id,
                )
            except OSError as error:
                require_answer(error)
                refusal = False
            self._reads[key] = not refusal
        return self._reads[key]

    def has_map_type(self, number: int) -> bool:
        """Return whether a small map of this type can be created."""
        feature = map_types.BY_NUMBER[number]
        if number not in self._maps:
            try:
                create_map(feature)
            except OSError as error:
                require_answer(error)
                self._maps[number] = False
            else:
                self._maps[number] = True
        return self._maps[number]


def is_implied(helper: Helper, program_type: int) -> bool:
    """Return whether programs of a type may call a helper on any kernel of the running version: backports
    only add helpers."""
    if helper.options or helper.varies or not kconfig.is_since(helper.since):
        return False
    return helper.all_types or {program_type, helper.program_type} <= TRACING_TYPES


def describe_lack(needs: NeedsInfo, attributes: LoadAttributes, uses: ProgramUses) -> str:
    """Name the helper, map type or field that a program uses and this kernel does not have for it; "" if it
    has all."""
    for number in uses.helpers:
        if not needs.may_call(attributes, number):
            return _describe_helper(number, attributes.type)
    for number in uses.replaced:
        if not needs.may_call(attributes, number) and not _has(needs, attributes, REPLACEMENTS[number]):
            return _describe_helper(number, attributes.type)
    for number in uses.maps:
        feature = map_types.BY_NUMBER[number]
        if not _has(needs, attributes, feature):
            return feature.absence
    if uses.context and not needs.may_read(attributes, uses.context):
        missing_field = next(
            (field for field in uses.context if not needs.may_read(attributes, (field,))), None
        )
        place = f" at offset {missing_field[0]}" if missing_field else "s that its program reads"
        return f"this kernel's context has no field{place}"
    return ""


def _has(needs: NeedsInfo, attributes: LoadAttributes, feature: Feature) -> bool:
    """Return whether a program may call this helper, or have a map of this type."""
    if isinstance(feature, Helper):
        return needs.may_call(attributes, feature.number)
    is_implied_type = kconfig.is_since(feature.since) and not feature.options
    return is_implied_type or needs.has_map_type(feature.number)


def _describe_helper(number: int, program_type: int) -> str:
    helper = helpers.BY_NUMBER.get(number)
    if helper is None:
        return f"this kernel has no helper {number} for its program"
    since = helpers.since(helper, program_type)
    return f"this kernel has no bpf_{helper.name} for its program" + (f" (Linux {since})" if since else "")
