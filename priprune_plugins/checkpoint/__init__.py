"""Files that survive a kill: states as safetensors with their sha256, and the last whole checkpoints of a run."""
