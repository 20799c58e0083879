"""Compile C with BCC into images: kernel headers, sources, and features that BCC cannot express."""
