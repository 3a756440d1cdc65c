"""Formulas that more than one part uses, each once."""
