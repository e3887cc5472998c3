"""Contrastive learning with pseudo-labels (App C.1)."""
