"""Experiments on any dataset, on which papers stand: worlds, trained members, looks and attacks."""
