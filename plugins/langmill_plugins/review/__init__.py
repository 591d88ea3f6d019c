"""People's verdicts on rationales: what they are shown, the sheets they fill in, and what a row then carries."""
