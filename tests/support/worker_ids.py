"""Define a user and a process name of this worker alone: filters by them match no other test's processes."""

import os

UID = 1_000_000_000 + os.getpid()
NAME = f"pt-{os.getpid()}"  # the kernel keeps 15 characters of it
