"""Data sets, and how their images are dealt to clients."""
