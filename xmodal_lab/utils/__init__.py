"""What every room needs and no room owns: checks of arguments, torch's state, files, points, statistics."""
