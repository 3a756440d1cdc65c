"""Resample: shuffled folds and their 3D classes (4.1)."""
