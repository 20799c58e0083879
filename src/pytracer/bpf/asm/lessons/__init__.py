"""Programs written instruction by instruction, to learn BPF from. Each does what a file of probes_c does.

A lesson is found by its tracer's name; ``build()`` gives what BCC gives for the C: maps and programs.
"""
