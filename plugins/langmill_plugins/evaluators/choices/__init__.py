"""Multiple-choice items as they are put to a model: the order of their options, examples before them, what guessing gets."""
