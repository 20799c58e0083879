"""List and dump all programs and maps in the kernel, whoever loaded them."""
