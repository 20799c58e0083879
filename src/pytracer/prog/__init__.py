"""List and dump all programs and maps in the kernel, of any owner."""
