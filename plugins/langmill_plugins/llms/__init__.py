"""Built-in llms, one part a file."""
