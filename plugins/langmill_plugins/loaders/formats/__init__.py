"""Formats of files, a module each: a file in, its records with their numbers out. Nothing here knows what a field means."""
