"""What a target that does not know the label can do."""
