"""Targets, teachers, views, and one stacked training."""
