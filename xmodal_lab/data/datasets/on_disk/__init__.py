"""Datasets that lie on disk, each in the layout in which it is published."""
