"""Rows that are near one another: compared, joined, all but the best named."""
