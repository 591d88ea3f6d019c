"""Figures: intervals, tests of one model against another, and what others have published."""
