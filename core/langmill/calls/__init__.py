"""Calls to models: one engine behind which every model stands."""
