"""BPF: build, load and attach programs, read maps. Only this package uses BCC or bpf(2)."""
