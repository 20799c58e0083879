"""Read maps, streams and stacks in bulk, into NumPy arrays of the C's own layout."""
