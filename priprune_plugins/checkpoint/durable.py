"""What must be on the disk before a name may point to it."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_durably(path: Path, text: str) -> None:
    """Write a text file and wait until it is on the disk."""
    path.write_text(text, encoding="utf-8")
    sync(path)


def replace_durably(temporary: Path, path: Path) -> None:
    """Give a file or a folder, whose content is on the disk, its name; a kill leaves the old or the new one."""
    temporary.replace(path)
    sync(path.parent)
