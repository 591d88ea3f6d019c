"""Questions and answers in the forms of other evaluation programs."""
