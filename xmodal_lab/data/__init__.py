"""Samples, what pairs them, what changes them, and the datasets by name."""
