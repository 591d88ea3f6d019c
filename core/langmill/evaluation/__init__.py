"""Evaluation: which rows are asked, what a model said, and whether a benchmark lies inside what was learnt."""
