"""A recipe: read, held against its parts, assembled."""
