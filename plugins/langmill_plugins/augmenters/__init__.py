"""Built-in augmenters, one part a file."""
