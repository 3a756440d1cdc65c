"""The stages in order, here or on a cluster."""
