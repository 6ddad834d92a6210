"""Benchmarks of the GPU backends beside the ways people use today: `python -m benchmarks.gpu`.

Dimensions: B images, N = M target and reference positions, C channels, D values, K classes.
"""
