"""How much faster, at equal results: our path against what a user would take instead, on the same model and work."""
