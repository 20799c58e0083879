"""Run a trace from its plan to its end: launch, load, attach, collect, show, close."""
