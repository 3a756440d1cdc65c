"""Particle tables with their optics, their stacks and what is plausible in them."""
