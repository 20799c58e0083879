"""Compile C with BCC into images: kernel headers, sources, and what BCC cannot express."""
