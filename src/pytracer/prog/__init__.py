"""Programs and maps that are in the kernel, whoever put them there: what it tells of them, made readable."""
