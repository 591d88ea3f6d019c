"""What a run tells people: cards, report, summary."""
