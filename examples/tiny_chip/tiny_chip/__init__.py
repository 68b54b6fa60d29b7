"""A chip of four cores and one library function, to show what a package for a chip is made of: see docs/new-chip.md."""
