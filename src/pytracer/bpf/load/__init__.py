"""Load images through bpf(2), and explain the verifier's refusals."""
