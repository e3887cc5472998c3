"""Datasets that ship with the package or are drawn on the spot."""
