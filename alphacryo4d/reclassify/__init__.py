"""States, poses and components fitted together to the particles of each fold."""
