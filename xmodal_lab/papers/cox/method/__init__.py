"""Connect and explore, and what it is compared with."""
