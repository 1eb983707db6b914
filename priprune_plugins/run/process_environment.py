"""The environment of processes that share a machine."""

import os


def environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that has ``threads`` CPU threads.

    It must be set before torch is imported. Threads that spin while they wait make processes that share a machine
    many times slower; more threads than a process's share do the same.
    """
    count = str(threads)
    named = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # FedLab depends on pynvml, about which torch warns at import; no user can do anything about it.
    return {
        **dict.fromkeys(named, count),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONWARNINGS": ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:The pynvml package"])),
    }
