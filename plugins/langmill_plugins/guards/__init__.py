"""Guards: what a model must not change while it rewrites, found without asking another one. Facts come from language packs."""
