"""WHAT THIS MACHINE HAS: its kernel, types, functions, events, calls, mounts, policy and names."""
