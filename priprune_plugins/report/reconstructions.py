"""The reconstructed pictures of a run, each below its true image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from priprune_plugins.privacy.image_quality import finite, psnr_db
from priprune_plugins.privacy.matching import match
from priprune_plugins.privacy.summary import by_round, is_control
from priprune_plugins.report.numbers import decibels
from priprune_plugins.report.pictures import data_uri
from priprune_plugins.report.verdict import is_void

Line = Mapping[str, Any]
MOST_PICTURES = 8
MOST_ROUNDS = 4


@dataclass(frozen=True)
class Pair:
    """One true image and its guess as ``data:`` addresses, with the guess's PSNR, or what took its place."""

    truth: str
    guess: str
    caption: str
    client: str


@dataclass(frozen=True)
class Strip:
    """The pairs of one attack, round and group.

    Args:
        attack: Name of the attack.
        round_idx: Round.
        control: Whether these are the positive control's.
        void: Whether its figures are void.
        pairs: What is shown.
        left_out: How many images are not shown.
        missing: How many victims have no file.
    """

    attack: str
    round_idx: int
    control: bool
    void: bool
    pairs: list[Pair]
    left_out: int
    missing: int


def strips(folder: Path, attack: str, figures: Mapping[str, Any], lines: Sequence[Line]) -> list[Strip]:
    """Return the strips of one attack: at most four rounds, evenly spaced, and eight images in each.

    Args:
        folder: The run folder.
        attack: Name of the attack.
        figures: Its entry of ``summary.json``.
        lines: Lines of ``privacy.jsonl``.
    """
    rounds = by_round([line for line in lines if line["attack"] == attack])
    shown = evenly(list(rounds), MOST_ROUNDS)
    groups = [
        (number, control, [line for line in rounds[number] if is_control(line) is control])
        for number in shown
        for control in (False, True)
    ]
    return [_strip(folder, attack, n, control, is_void(figures, n), own) for n, control, own in groups if own]


def evenly(values: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the values, evenly spaced, first and last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def stem(line: Line) -> str:
    """Return the file stem of a victim: its key, or what round and client make."""
    client = line.get("client")
    fallback = f"r{int(line['round']):06d}_c{client:05d}" if isinstance(client, int) else "unknown"
    # Only the last part, so that a damaged key names no file outside the run folder.
    return Path(str(line.get("key", fallback))).name


def _strip(folder: Path, attack: str, number: int, control: bool, void: bool, lines: Sequence[Line]) -> Strip:
    pairs: list[Pair] = []
    images = missing = 0
    for line in lines:
        found = pictures_of(folder, attack, line)
        missing += found is None
        if found is not None:
            images += len(found[0])
            # A control's own figures stay readable: they are the reason why the others are void.
            pairs.extend(_pairs(line, *found, void and not control, MOST_PICTURES - len(pairs)))
    return Strip(attack, number, control, void, pairs, images - len(pairs), missing)


def _pairs(line: Line, truth: Tensor, guess: Tensor, void: bool, most: int) -> Iterator[Pair]:
    failed = line.get("failed")
    values = psnr_db(truth, guess.clamp(0, 1)).tolist()
    for image, other, value in list(zip(truth, guess, values, strict=True))[:most]:
        caption = "failed" if failed else "void" if void else decibels(value)
        yield Pair(data_uri(image), data_uri(other), caption, f"client {line.get('client')}")


def pictures_of(folder: Path, attack: str, line: Line) -> tuple[Tensor, Tensor] | None:
    """Return the true images ``[B, C, H, W]`` of an upload and the guesses in their order, or None without a file.

    Args:
        folder: The run folder.
        attack: Name of the attack.
        line: The upload's line of ``privacy.jsonl``.
    """
    name = f"{stem(line)}.safetensors"
    try:
        truth = load_file(folder / "audit" / name)
        guess = load_file(folder / "reconstructions" / Path(attack).name / name)
        images, guesses = truth["images"], guess["images"]
    except (OSError, KeyError, SafetensorError):
        return None
    if images.shape != guesses.shape or images.dim() != 4:
        return None
    if finite(guesses):
        guesses = guesses[match(images, guesses.clamp(0, 1), truth.get("labels"), guess.get("labels"))]
    return images, guesses
