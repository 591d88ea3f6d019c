"""Built-in executors, one part a file."""
