"""The worlds on which claims rest."""
