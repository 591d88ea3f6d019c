"""langmill: a factory for instruction data in many languages, and the trainer it feeds."""

__version__ = "0.1.0"
