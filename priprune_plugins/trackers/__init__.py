"""Trackers: experiment loggers that follow a run. They get its configuration and its figures, never truth or images."""
