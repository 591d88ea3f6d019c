"""The nine kinds of part and what they are handed."""
