"""Read facts about this machine: its kernel, types, functions, events, calls, mounts, policy and names."""
