"""Reports as pages: one model, or two beside each other."""
