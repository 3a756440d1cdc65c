"""Particles by any criterion, ready for RELION and cryoSPARC."""
