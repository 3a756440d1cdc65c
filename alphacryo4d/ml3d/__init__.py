"""The native engine: classification without alignment."""
