"""One's own data: columns, blocks of numbers, labels and splits become a dataset."""
