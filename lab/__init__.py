"""The kernel lab: boots real distribution kernels under QEMU and runs a command in them.

Not part of the package that users install; `scripts/lab` is its command line and `lab.kernels`
the project's statement of the kernels it supports.
"""
