"""Post-training quantisation: a float model and examples of its input → a model that computes layers on 8-bit integers."""
