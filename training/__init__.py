"""Trains the demo checkpoints of the four chat models: same classes and formats as the originals, very much smaller."""
