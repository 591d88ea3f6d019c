"""Built-in filters, one part a file."""
