"""The secret that all processes of a run share; it never stands in a scenario, on a command line, or on the wire."""

import os
from pathlib import Path

from priprune_plugins.errors import ScenarioError

VARIABLE = "PRIPRUNE_TOKEN"
_FEWEST = 16
_MAKE = "python3 -c 'import secrets; print(secrets.token_hex(32))' > token; chmod 600 token"


def read_token(path: Path | None) -> bytes:
    """Return the token of a file, or else of the environment variable PRIPRUNE_TOKEN.

    Args:
        path: The file; nobody but its owner may read it.

    Raises:
        ScenarioError: There is none, it is too short to be secret, or others may read the file.
    """
    text = os.environ.get(VARIABLE, "") if path is None else _of_file(path)
    token = text.strip().encode()
    where = VARIABLE if path is None else str(path)
    if not token and path is not None:
        raise ScenarioError(f"--token-file: {path} is empty; to make a token: {_MAKE}")
    if not token:
        raise ScenarioError(f"no token: give --token-file, or set {VARIABLE}; to make one: {_MAKE}")
    if len(token) < _FEWEST:
        raise ScenarioError(f"{where}: the token has {len(token)} characters, it needs {_FEWEST} or more: {_MAKE}")
    return token


def _of_file(path: Path) -> str:
    if path.is_dir():
        raise ScenarioError(f"--token-file must be a file, got the folder {path}; to make one: {_MAKE}")
    try:
        if path.stat().st_mode & 0o077:
            raise ScenarioError(f"--token-file: others may read {path}; chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ScenarioError(f"--token-file: cannot read {path}: {reason}") from error
