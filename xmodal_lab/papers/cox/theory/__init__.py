"""Theorem 1 enumerated."""
