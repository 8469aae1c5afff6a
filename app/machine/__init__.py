"""What this machine does: processor, memory, GPUs, and whose processes they are. Knows no components and no HTML."""
