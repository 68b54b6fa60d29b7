"""Recipes that make the model corpus, and the sweep that compares each model with Paddle (`make zoo`)."""
