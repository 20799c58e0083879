"""The only room that knows BCC or bpf(2): build, load, attach, maps."""
