"""Decode attempts to make huge pages."""

from __future__ import annotations


def huge_memory(of_files: int) -> str:
    """Decode the type of the pages' memory."""
    return "file" if of_files else "anonymous"


def huge_cause(is_itself: int) -> str:
    """Decode which part of the kernel tries to make a huge page."""
    return "itself" if is_itself else "khugepaged"
