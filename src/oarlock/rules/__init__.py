"""Relax → Relax rules: a rule says when it applies, what it makes, and (where it matters) why it does not apply."""
