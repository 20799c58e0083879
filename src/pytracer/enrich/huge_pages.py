"""Decode attempts to make huge pages."""

from __future__ import annotations


def huge_memory(of_files: int) -> str:
    """Decode of which memory the pages are."""
    return "file" if of_files else "anonymous"


def huge_cause(is_itself: int) -> str:
    """Decode who attempts it."""
    return "itself" if is_itself else "khugepaged"
