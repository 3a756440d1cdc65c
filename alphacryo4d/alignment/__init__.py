"""Poses of particles from one map: global search over orientations and shifts, and refinement."""
