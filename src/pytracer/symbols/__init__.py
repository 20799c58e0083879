"""Symbolize addresses of the kernel, of programs and of libraries."""
