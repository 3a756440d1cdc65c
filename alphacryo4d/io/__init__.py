"""Readers and writers of STAR, MRC and cryoSPARC files."""
