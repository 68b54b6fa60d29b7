"""Compare with Paddle."""
