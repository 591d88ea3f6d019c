"""Rows as tokens, and which of them carry loss."""
