"""The command line ``priprune``; importing it, its help and ``list`` import no torch."""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from priprune_plugins.cli.parser import build_parser
from priprune_plugins.errors import PriPruneError

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None = those of the process.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 the input is wrong, 130 interrupted.
    """
    # OpenMP threads that spin while they wait make a run many times slower as soon as anything else uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # FedLab depends on pynvml, about which torch warns at import; no user can do anything about it.
    warnings.filterwarnings("ignore", message=".*pynvml.*", category=FutureWarning)
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    try:
        chosen = build_parser().parse_args(arguments)
        code: int = chosen.command(chosen) or 0
        sys.stdout.flush()
    except PriPruneError as error:
        return _failed(str(error), error.exit_code, debug)
    except KeyboardInterrupt as error:
        code = getattr(error, "exit_code", INTERRUPTED)
        return _failed(str(error) or "interrupted; what was computed stays on disk", code, debug=False)
    except BrokenPipeError:
        # Whoever read our output has gone, head for instance; Python's own flush at exit must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    except Exception as error:
        if debug:
            raise
        first = (str(error).strip() or "no message").splitlines()[0]
        return _failed(f"a bug: {type(error).__name__}: {first}; run again with --debug and report it", 1, debug=False)
    return code


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"priprune: {' '.join(message.split())}", file=sys.stderr)
    return code
