"""Load images through bpf(2), and explain what the verifier refuses."""
