"""Built-in trainers, one part a file."""
