"""Each hot path beside its peer, in one run: ``make bench``."""
