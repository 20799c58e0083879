"""Unwind tables: how to find the caller's frame from any instruction of a file, as rows for the kernel."""
