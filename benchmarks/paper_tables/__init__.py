"""Harnesses of the paper's tables."""
