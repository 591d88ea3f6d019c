"""Answers that were paid for, and the money."""
