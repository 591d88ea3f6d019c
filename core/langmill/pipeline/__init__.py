"""Data sets being made, segment by segment."""
