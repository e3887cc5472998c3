"""What a view is: a checked cube, the kinds of pictures, where the controls stand, and training."""
