"""What runs jobs: a few at a time, each in a process of its own kind."""

from typing import Protocol

from priprune_plugins.sweep.jobs import Job, Outcome, Progress


class Executor(Protocol):
    """Runs jobs; the order in which they end is its own affair, their bits are not."""

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time."""
        ...

    def submit(self, job: Job) -> None:
        """Begin a job; never more than ``slots`` at a time."""
        ...

    def event(self) -> Outcome | Progress:
        """Wait until a job tells how far it is, or ends; every job ends in exactly one outcome."""
        ...

    def close(self) -> None:
        """Stop everything that still runs."""
        ...
