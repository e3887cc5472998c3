"""The five papers, each a short file on top of the rooms; none imports another."""
