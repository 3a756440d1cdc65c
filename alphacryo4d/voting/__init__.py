"""Particle voting and what follows from it (4.8, 4.9)."""
