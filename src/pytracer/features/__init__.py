"""Find out what BPF features this kernel has, by trying each of them."""
