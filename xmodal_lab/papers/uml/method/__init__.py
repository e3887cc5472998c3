"""Heads on unpaired data, searches, sequences, transfer."""
