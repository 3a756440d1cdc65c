"""Compiled kernels of the native engine."""
