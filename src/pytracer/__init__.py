"""pytracer: trace a running Linux kernel and the programs on it, with BCC underneath."""

__version__ = "0.1.0"
