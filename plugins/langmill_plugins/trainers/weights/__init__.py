"""Weights on disk and in memory: bases, adapters, checkpoints, models that answer."""
