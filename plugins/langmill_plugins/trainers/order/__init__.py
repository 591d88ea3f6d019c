"""Which examples make up which step, for a whole stage and before its first step."""
