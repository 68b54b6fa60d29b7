"""Layers of the recipes: own networks, and wrappers that give a package's model the form in which it is exported.  They need Paddle."""
