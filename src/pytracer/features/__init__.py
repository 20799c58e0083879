"""Find out which BPF features this kernel grants, by trying each of them."""
