"""Explain the absence of a feature: the kernel is older, or was built without an option."""

from __future__ import annotations

from pytracer.features.table.feature import Feature
from pytracer.kernel import kconfig


def explain_absence(feature: Feature) -> str:
    """Explain why the kernel lacks a feature: it is older, or was built without an option."""
    if not kconfig.is_since(feature.since):
        return f"it came with Linux {feature.since}"
    if not feature.options:
        return f"Linux has it since {feature.since}, and this kernel was built without it"
    if missing := feature.missing_option(kconfig.option):
        return f"this kernel is built without CONFIG_{missing}"
    if all(kconfig.option(option) is None for option in feature.options):
        return f"it takes {' and '.join(f'CONFIG_{option}' for option in feature.options)}"
    return ""
