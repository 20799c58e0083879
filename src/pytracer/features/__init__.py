"""Probe the BPF features of this kernel."""
