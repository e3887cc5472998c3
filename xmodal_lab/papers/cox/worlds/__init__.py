"""The problem, who perceives it, and where it comes from."""
