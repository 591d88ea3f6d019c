"""A stage's way from rows to finished weights."""
