"""Assemble BPF: an assembler for BPF and one for classic BPF, and packet filters."""
