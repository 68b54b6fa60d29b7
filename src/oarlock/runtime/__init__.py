"""Runs artifacts with TVM's runtime library and numpy alone: no compiler, no Paddle."""
