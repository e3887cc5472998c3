"""The regulariser, the towers, and pretraining."""
