"""Training of SPColor."""
