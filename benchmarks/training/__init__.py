"""Benchmarks of training SPColor on a CPU: `python -m benchmarks.training` and `.overfit`.

Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""
