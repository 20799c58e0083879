"""Names for addresses: kernel, user and JIT maps."""
