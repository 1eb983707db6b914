"""The commands, their arguments and their help."""

import argparse
from pathlib import Path
from typing import Any

import priprune_plugins
from priprune_plugins.catalogue import KINDS
from priprune_plugins.cli import (
    agreement_arguments,
    bound_arguments,
    commands,
    network_arguments,
    report_arguments,
    run_arguments,
    sweep_arguments,
)

_TOP = """\
How much can a curious server reconstruct from pruned federated learning?

One YAML file selects algorithm x data x model x pruner x defences x attacks;
one command runs it and leaves a folder with figures, pictures and a report.
"""
_TOP_EXAMPLES = """\
a first look:
  priprune run configs/quickstart.yaml
  priprune run configs/quickstart.yaml --set pruner.rate=0.6 --out runs/rate-0.6
  priprune list attacks
  priprune attack runs/quickstart --attack gi --set iterations=1000
  priprune new attack my_attack

exit codes: 0 done, 1 the run failed, 2 the input is wrong (one line says where and what)
"""
_ATTACK = """\
Attack the captures of a finished run, so that attackers are compared on the same uploads.

Uploads that the same attack with the same options has done are left alone. Without --attack,
every attack of the run that was stopped goes on where it was stopped.
"""
_ATTACK_EXAMPLES = """\
examples:
  priprune attack runs/quickstart
  priprune attack runs/quickstart --attack gi
  priprune attack runs/quickstart --attack my_lab.attacks:Mine --set iterations=500
"""
_SCHEMA_EXAMPLES = """\
example, for editors with a YAML language server (VS Code, Neovim, JetBrains):
  priprune schema > priprune.schema.json
  and as the first line of a scenario:
  # yaml-language-server: $schema=priprune.schema.json
"""
_NEW_EXAMPLES = """\
example:
  priprune new pruner fisher
  cd priprune-pruner-fisher
  pip install -e '.[test]'
  pytest
  priprune run scenario.yaml
"""
_SET = "replace or add a value of the scenario, PATH=YAML, for instance pruner.rate=0.5; may be repeated"
_SET_OPTION = "an option of the attack, KEY=YAML, for instance iterations=500; may be repeated"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command stores its function as ``command``."""
    parser = argparse.ArgumentParser(
        prog="priprune",
        description=_TOP,
        epilog=_TOP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"priprune {priprune_plugins.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands_of = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_runs(commands_of)
    _add_network(commands_of)
    _add_looks(commands_of)
    _add_others(commands_of)
    return parser


def _add(commands_of: Any, name: str, run: Any, help_line: str, text: str = "", examples: str = "") -> Any:
    command = commands_of.add_parser(
        name,
        help=help_line,
        description=text or help_line,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show an error's traceback")
    command.set_defaults(command=run)
    return command


def _add_runs(commands_of: Any) -> None:
    run = _add(commands_of, "run", commands.run, run_arguments.HELP, run_arguments.TEXT, run_arguments.EXAMPLES)
    run_arguments.add_run_arguments(run)
    attack = _add(
        commands_of,
        "attack",
        commands.attack,
        "attack the captures of a finished run again",
        _ATTACK,
        _ATTACK_EXAMPLES,
    )
    attack.add_argument("run", type=Path, help="a run folder")
    attack.add_argument("--attack", metavar="NAME", help="an installed attack, or module:Class")
    attack.add_argument("--set", action="append", default=[], metavar="KEY=YAML", help=_SET_OPTION)
    attack.add_argument("--quiet", action="store_true", help="no progress, no closing table")
    sweep = _add(
        commands_of, "sweep", commands.sweep, sweep_arguments.HELP, sweep_arguments.TEXT, sweep_arguments.EXAMPLES
    )
    sweep_arguments.add_sweep_arguments(sweep)
    report = _add(
        commands_of,
        "report",
        commands.report,
        report_arguments.HELP,
        report_arguments.TEXT,
        report_arguments.EXAMPLES,
    )
    report_arguments.add_report_arguments(report)
    bound = _add(
        commands_of, "bound", commands.bound, bound_arguments.HELP, bound_arguments.TEXT, bound_arguments.EXAMPLES
    )
    bound_arguments.add_bound_arguments(bound)
    agreement = _add(
        commands_of,
        "agreement",
        commands.agreement,
        agreement_arguments.HELP,
        agreement_arguments.TEXT,
        agreement_arguments.EXAMPLES,
    )
    agreement_arguments.add_agreement_arguments(agreement)


def _add_network(commands_of: Any) -> None:
    named = network_arguments
    serve = _add(commands_of, "serve", commands.serve, named.SERVE_HELP, named.SERVE_TEXT, named.SERVE_EXAMPLES)
    named.add_serve_arguments(serve)
    join = _add(commands_of, "join", commands.join, named.JOIN_HELP, named.JOIN_TEXT, named.JOIN_EXAMPLES)
    named.add_join_arguments(join)


def _add_looks(commands_of: Any) -> None:
    listing = _add(commands_of, "list", commands.list_plugins, "list the installed plugins, without importing them")
    listing.add_argument("kind", nargs="?", choices=sorted(KINDS), metavar="KIND", help=", ".join(sorted(KINDS)))
    listing.add_argument("--json", action="store_true", help="print JSON")
    check = _add(
        commands_of,
        "check",
        commands.check,
        "validate a scenario or a sweep without running it",
        "Validate a scenario, or a sweep with every cell and figure of it: first YAML, keys and names, then the\n"
        "options of the plugins that it selects.",
    )
    check.add_argument("scenario", type=Path, help="a YAML file")
    check.add_argument("--set", action="append", default=[], metavar="PATH=YAML", help=_SET)
    schema = _add(
        commands_of,
        "schema",
        commands.schema,
        "print the JSON Schema of scenarios or of sweeps, for editors",
        "Print the JSON Schema of scenarios, or of sweeps, with the options of all installed plugins.",
        _SCHEMA_EXAMPLES,
    )
    schema.add_argument("file", nargs="?", choices=("scenario", "sweep"), default="scenario", help="of which file")


def _add_others(commands_of: Any) -> None:
    fetch = _add(
        commands_of,
        "fetch",
        commands.fetch,
        "download a data set; the only command that goes to the internet",
        examples="example:\n  priprune fetch mnist --root data/mnist\n",
    )
    fetch.add_argument("dataset", help="an installed data set")
    fetch.add_argument("--root", type=Path, metavar="DIR", help="where to (default: the data set's own root)")
    new = _add(
        commands_of,
        "new",
        commands.new,
        "write a plugin repository that passes its own tests",
        examples=_NEW_EXAMPLES,
    )
    new.add_argument("kind", choices=("pruner", "attack", "defense"), help="what to write")
    new.add_argument("name", help="its name in a scenario: a-z, 0-9 and _")
    new.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: priprune-<kind>-<name>)")
