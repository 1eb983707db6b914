"""Sweeps: many runs from one file, each of them once, in processes of their own.

One sweep::

    read_sweep(SWEEP.yaml)      axes, what moves together, what is left out; no torch
    make_plan(sweep)            every cell as a checked scenario with its key, before anything runs
    run_sweep(plan, ...)        trainings and cells as jobs of an executor; a ledger of what became of each
    write_results(folder)       one line per (cell, attack)
"""

from priprune_plugins.sweep.reading import Sweep, read_sweep

__all__ = ["Sweep", "read_sweep"]
