"""Built-in exporters, one part a file."""
