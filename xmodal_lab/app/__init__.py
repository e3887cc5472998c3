"""What the command line stands on."""
