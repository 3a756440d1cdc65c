"""Maps of a state: half maps, resolution, refinement by RELION."""
