"""From addresses to the names of functions: the kernel's, and those of programs and libraries."""
