"""The particle landscape: where every particle lies, and how many lie where."""
