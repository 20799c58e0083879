"""The tracers: one module each, declaring ``TRACER``."""
