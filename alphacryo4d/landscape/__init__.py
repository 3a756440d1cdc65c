"""Pseudo-energy landscape, minimum-energy path and states (4.5-4.7)."""
