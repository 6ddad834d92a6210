"""Triton kernels: one module per operator, named as its reference.

Each module holds the kernels and the launcher that the operator calls. Nothing here reads labels,
offsets or orders on the host: grids are bounds that the host knows, and programs find their own
work on the device. Whatever those tensors hold, positions are clamped into their image.

Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""
