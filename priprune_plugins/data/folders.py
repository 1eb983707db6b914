"""Folders that the user names."""

from pathlib import Path

from priprune_plugins.errors import ScenarioError


def find_folder(dataset: str, root: str, inside: str, hint: str) -> Path:
    """Return the folder that holds a data set: ``root/inside`` where it exists, else ``root`` itself.

    Args:
        dataset: The data set's name, for the message.
        root: As the user gave it; a relative one is resolved against the current directory.
        inside: The sub-folder that the data set's own downloader makes.
        hint: The command that gives the folder; ``{root}`` stands for the absolute root.

    Raises:
        ScenarioError: There is no such folder.
    """
    given = Path(root).expanduser().absolute()
    for folder in (given / inside, given):
        if folder.is_dir():
            return folder
    raise ScenarioError(
        f"data.root: {dataset} needs the folder {given}, which does not exist; {hint.format(root=given)}"
    )
