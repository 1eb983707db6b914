"""How a sweep tells whoever started it what it is doing."""

from priprune_plugins.sweep.jobs import Job, Outcome


class SweepWatcher:
    """Does nothing; subclasses override what they show."""

    def begin(self, cells: int, done: int) -> None:
        """So many cells in all, of which so many were done before."""

    def started(self, job: Job) -> None:
        """A job has begun."""

    def progress(self, job: Job, text: str) -> None:
        """How far a running job is."""

    def ended(self, job: Job, outcome: Outcome, cells: int) -> None:
        """A job is done or has failed; with it so many cells have come to an end."""

    def warn(self, message: str) -> None:
        """Something is known to go wrong and does not stop the sweep."""
