"""What a model's reply says: which options it chooses, or why that can not be told. Shared by parts of several kinds.

The algorithm is here, what languages say is in their packs (``replies``, ``choice.answer``, ``cues.conclusion``, ``cues.judged``).
"""
