"""Hide the compiler and kernel headers from a process."""

from __future__ import annotations

# For a shell that runs as root in a mount namespace, or a virtual machine, of its own.
HIDE = """
set -eu
mount -t tmpfs none /usr/src
for folder in /usr/lib/python3/dist-packages/bcc /lib/modules/*/build; do
    [ ! -d "$folder" ] || mount -t tmpfs none "$folder"
done
for file in /usr/lib/*/libbcc.so* /usr/lib/*/libLLVM*.so* /usr/lib/*/libclang*.so*; do
    [ ! -e "$file" ] || mount --bind /dev/null "$file"
done
if python3 -c 'import ctypes; ctypes.CDLL("libbcc.so.0")' 2>/dev/null; then
    echo "libbcc is still there"
    exit 1
fi
"""
