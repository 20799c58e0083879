"""Assemble BPF: an assembler, classic BPF, packet filters, and lessons written instruction by instruction."""
