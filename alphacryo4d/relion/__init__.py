"""RELION 3.0 to 5: options to argument lists, runs, and what RELION wrote back to arrays."""
