"""What is asked of a trained net. No instrument knows another."""
