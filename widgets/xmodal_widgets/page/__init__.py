"""What is drawn: the JavaScript of the live view, an exported page, a static picture."""
