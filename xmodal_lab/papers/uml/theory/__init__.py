"""Theorems 1-3 and Fig 3 as experiments."""
