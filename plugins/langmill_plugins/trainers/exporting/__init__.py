"""Takes trained stages out of a run's folder, in shapes that other programs read."""
