"""Pretrained encoders, what they are fed, and their features on disk."""
