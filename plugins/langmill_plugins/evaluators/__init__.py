"""Built-in evaluators, one part a file."""
