"""Downloads, on an explicit command only, by the libraries that publish the data sets."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from priprune_plugins.catalogue import load_class
from priprune_plugins.errors import RunError, ScenarioError, missing_extra
from priprune_plugins.scenario.selection import Selection

_FEMNIST = "flwrlabs/femnist"
_NOTHING = {
    "digits": "digits comes with scikit-learn: nothing to fetch",
    "photos": "photos is a folder of your own pictures: nothing to fetch; give it as data.root",
}


def fetch_dataset(name: str, root: Path | None) -> str:
    """Download a data set and return a line that says where it lies.

    Args:
        name: Catalogue name, or ``module:Class``; a class with a method ``fetch(root)`` fetches itself.
        root: The folder; None = the default of the data set's option ``root``.

    Raises:
        ScenarioError: No such data set, or nobody knows where it comes from.
        RunError: The download failed.
    """
    cls = load_class(Selection("datasets", name, {}, "fetch"))
    own = getattr(cls, "fetch", None)
    if own is None and name in _NOTHING:
        return _NOTHING[name]
    get = own or _FETCHERS.get(name)
    if get is None:
        raise ScenarioError(f"data set {name} has no fetch: get it from where its publisher says and give data.root")
    folder = root or _default_root(name, cls)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        get(folder)
    except (OSError, RuntimeError) as error:
        raise RunError(f"{name} could not be downloaded: {type(error).__name__}: {error}") from error
    return f"{name} is in {folder}: data: {{name: {name}, root: {folder}}}"


def _default_root(name: str, cls: Any) -> Path:
    defaults = {field.name: field.default for field in fields(cls)}
    root = defaults.get("root", MISSING)
    if not isinstance(root, str | Path):
        raise ScenarioError(f"data set {name} has no default folder; give --root DIR")
    return Path(root)


def _femnist(root: Path) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing_extra("fetching femnist", "huggingface-hub", "hf") from error
    snapshot_download(_FEMNIST, repo_type="dataset", allow_patterns="*.parquet", local_dir=root)


def _mnist(root: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(str(root), download=True)


def _cifar10(root: Path) -> None:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    # Not CIFAR10(download=True): its constructor unpickles the batches without restraint.
    download_and_extract_archive(CIFAR10.url, str(root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)


_FETCHERS: dict[str, Callable[[Path], None]] = {"femnist": _femnist, "mnist": _mnist, "cifar10": _cifar10}
