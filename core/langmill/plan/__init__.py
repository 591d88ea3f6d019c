"""What a run would cost, and what it would do."""
