"""Built-in loaders, one part a file."""
