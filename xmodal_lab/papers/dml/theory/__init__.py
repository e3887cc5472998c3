"""Theorems 1 and 2, and Assumption 1."""
