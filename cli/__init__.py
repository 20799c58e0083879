"""The command line: parse, dispatch, help; nothing else."""
