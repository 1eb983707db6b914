"""Attacks on captures, chunk by chunk: what is done stays, and what is not is done when the attack is run again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from priprune_plugins.messages import LabelledSet, Progress
from priprune_plugins.plugins import Registered
from priprune_plugins.report import write_report
from priprune_plugins.run.assemble import World
from priprune_plugins.run.attack_files import attack_state, describe, done_by
from priprune_plugins.run.attacker import Attacker, Chunk
from priprune_plugins.run.captures import Capture
from priprune_plugins.run.folder import mend_lines
from priprune_plugins.run.observed import all_captures
from priprune_plugins.run.recorder import Recorder
from priprune_plugins.run.summary import with_attacks
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.sections import PrivacySection


@dataclass(frozen=True, eq=False)
class AttackStage:
    """Runs attacks on the captures of one run folder.

    Args:
        folder: The run folder.
        world: Device, test images and public facts.
        seed: The scenario's seed.
        privacy: How reconstructions are measured.
    """

    folder: Path
    world: World
    seed: int
    privacy: PrivacySection

    def run(self, attack: Registered, progress: Progress) -> int:
        """Attack every capture that this attack has not done yet; return how many there were.

        A chunk that was interrupted is done again as a whole, so that an attack gives the same whether it was
        interrupted or not; only the lines that are missing are written.

        Raises:
            PluginError: The attack failed; what it did before stays on disk.
        """
        everything = all_captures(self.folder / "captures")
        missing = {capture.key for capture in self.todo(attack.name)}
        chunks = [c for c in self._chunks(everything) if any(capture.key in missing for capture in c.captures)]
        state = attack_state(self.folder, attack)
        attacker = Attacker(attack, self.folder, self.world, self.seed, self.privacy.candidates, everything, state)
        describe(self.folder, attack)
        mend_lines(self.folder / "privacy.jsonl")
        done, total = 0, sum(len(chunk.captures) for chunk in chunks)
        for chunk in chunks:
            part = len(chunk.captures)
            self._attack(attacker, chunk, missing, _scaled(progress, done / total, part / total))
            done += part
            progress(done / total)
        return len(missing)

    def todo(self, label: str) -> list[Capture]:
        """Return the captures that an attack has no line for in privacy.jsonl."""
        done = done_by(self.folder, label)
        attacked = [c for c in all_captures(self.folder / "captures") if c.is_attacked]
        return [c for c in attacked if (c.group, c.round_idx, c.key) not in done]

    def _chunks(self, everything: Sequence[Capture]) -> list[Chunk]:
        """Cut all captures, done or not, so that a resumed attack has the chunks of one that was not interrupted."""
        chunks = []
        attacked = [capture for capture in everything if capture.is_attacked]
        for _, group in groupby(attacked, key=lambda capture: (capture.round_idx, capture.group)):
            captures, size = list(group), self.privacy.chunk
            parts = [captures[start : start + size] for start in range(0, len(captures), size)]
            chunks += [Chunk(tuple(part), index) for index, part in enumerate(parts)]
        return chunks

    def _attack(self, attacker: Attacker, chunk: Chunk, missing: set[str], progress: Progress) -> None:
        recorder = self._recorder()
        for capture, (answer, more) in zip(chunk.captures, attacker.answers(chunk, progress), strict=True):
            if capture.key in missing:
                recorder.keep(attacker.attack, capture, answer, more)

    def _recorder(self) -> Recorder:
        test = self.world.data.test
        pool = LabelledSet(test.images.cpu(), test.labels.cpu())
        return Recorder(self.folder, pool, self.world.facts.mean_image.cpu(), self.seed, self.privacy)


def attack_all(
    stage: AttackStage,
    attacks: Sequence[Registered],
    watcher: Watcher,
    summary: Mapping[str, Any],
    write: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run attacks one after the other and keep ``summary.json`` up to date.

    Where one fails or is interrupted, the report is drawn with what there is, and says what is missing.

    Args:
        stage: Runs them.
        attacks: In order.
        watcher: Is told what happens.
        summary: The run's summary without its attacks.
        write: Writes the summary.

    Returns:
        The summary with all attacks that the folder has figures of.
    """
    for attack in attacks:
        describe(stage.folder, attack)
    try:
        for attack in attacks:
            write(with_attacks(summary, stage.folder))
            watcher.attack_begins(attack.name, len(stage.todo(attack.name)))
            stage.run(attack, watcher.attack_progress)
            watcher.attack_done(attack.name)
    except BaseException:
        write(with_attacks(summary, stage.folder))
        write_report(stage.folder)
        raise
    found = with_attacks(summary, stage.folder)
    write(found)
    return found


def _scaled(progress: Progress, before: float, part: float) -> Progress:
    return lambda share, loss=None: progress(before + part * share, loss)
