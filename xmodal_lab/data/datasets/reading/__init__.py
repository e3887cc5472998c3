"""How files are found, fetched, unpacked and read, and what is refused."""
