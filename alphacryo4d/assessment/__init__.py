"""Synthetic data with a known answer, and scores (4.13)."""
