"""Nets: encoders, fusions, one tower for all tokens, pretrained models, and how any of them is evaluated."""
