"""Which volumes are one conformation."""
