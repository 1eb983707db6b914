"""Processes that die, hang, come back, or should never have come."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

ENDLESS = ("rounds=1000000",)
REMEMBERING = (
    "rounds=80",
    "checkpoint.every=4",
    "algorithm={name: scaffold, clients_per_round: 4, batch_size: 5, lr: 0.1}",
    "defenses=[{name: priprune, mode: adaptive}]",
)


def rounds(folder: Path) -> list[dict[str, Any]]:
    path = folder / "rounds.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@pytest.mark.end_to_end
def test_a_process_that_is_killed_or_hangs_is_dropped_and_counted_and_may_come_back(commands) -> None:
    server, where = commands.serve("run", *ENDLESS)
    first = commands.join(where, *ENDLESS, options=("--clients", "0-2"))
    second = commands.join(where, *ENDLESS)
    folder = commands.folder / "run"
    server.sees(lambda: len(rounds(folder)) > 3)
    assert not any(record["dropped"] for record in rounds(folder))

    second.kill(signal.SIGKILL)
    lost = server.sees(lambda: [record for record in rounds(folder) if record["dropped"]])
    server.says("clients 3-5 are dropped until a process joins in its place")
    late = server.sees(lambda: [record for record in rounds(folder) if record["round"] > lost[0]["round"] + 2])[-1]
    assert late["dropped"] == len({3, 4, 5} & set(late["clients"]))

    third = commands.join(where, *ENDLESS)
    server.says("joined again, with clients 3-5")
    again = len(rounds(folder))
    whole = server.sees(lambda: rounds(folder)[again + 3 : again + 4])[0]
    assert whole["dropped"] == 0

    third.kill(signal.SIGSTOP)
    server.says("said nothing for 3 s")
    third.kill(signal.SIGKILL)

    server.kill(signal.SIGINT)
    assert server.code() == 130
    assert f"to go on: priprune serve {folder}/scenario.yaml --out {folder} --resume" in server.said
    assert first.code() == 1
    assert first.said.splitlines()[-1].startswith("priprune: the server stopped: interrupted: ")


@pytest.mark.end_to_end
def test_losses_do_not_stop_a_run_and_are_warned_of_at_its_end(commands) -> None:
    long = ("rounds=400", "evaluation.every=400")
    server, where = commands.serve("run", *long)
    first, second = (commands.join(where, *long) for _ in range(2))
    folder = commands.folder / "run"
    server.sees(lambda: rounds(folder))
    second.kill(signal.SIGKILL)
    assert (server.code(), first.code()) == (0, 0), server.said
    dropped = sum(record["dropped"] for record in rounds(folder))
    assert dropped > 0
    warnings = json.loads((folder / "summary.json").read_text())["warnings"]
    assert any(warning.startswith(f"{dropped} uploads never came") for warning in warnings)


@pytest.mark.end_to_end
def test_a_server_that_is_killed_or_hangs_is_reported_within_ten_seconds_in_one_line(commands) -> None:
    server, where = commands.serve("run", *ENDLESS)
    first, second = (commands.join(where, *ENDLESS) for _ in range(2))
    server.sees(lambda: rounds(commands.folder / "run"))
    server.kill(signal.SIGSTOP)
    stopped = time.monotonic()
    assert first.code() == 1
    assert time.monotonic() - stopped < 10 + 2
    server.kill(signal.SIGKILL)
    assert second.code() == 1
    assert first.said.splitlines()[-1] == "priprune: the server is gone: it said nothing for 8 s"


@pytest.mark.end_to_end
def test_without_any_process_the_run_stops_and_keeps_its_checkpoint(commands) -> None:
    server, where = commands.serve("run", *ENDLESS)
    joined = [commands.join(where, *ENDLESS) for _ in range(2)]
    folder = commands.folder / "run"
    server.sees(lambda: len(rounds(folder)) > 3)
    for process in joined:
        process.kill(signal.SIGKILL)
    assert server.code() == 1
    assert "every joined process is gone; the last one, process " in server.said
    assert f"rounds are in the last checkpoint; to go on: priprune serve {folder}/scenario.yaml" in server.said


@pytest.mark.end_to_end
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one_where_clients_kept_what_they_remember(commands) -> None:
    alone, folder = commands.run("alone", *REMEMBERING), commands.folder / "run"

    def joined(where: str) -> list[Any]:
        folders = [commands.folder / name for name in ("one", "two")]
        return [commands.join(where, *REMEMBERING, options=("--states", states)) for states in folders]

    server, where = commands.serve("run", *REMEMBERING)
    joined(where)
    server.sees(lambda: len(rounds(folder)) > 5)
    server.kill(signal.SIGINT)
    assert server.code() == 130
    assert len(rounds(folder)) < 80

    forgetful, where = commands.serve("run", *REMEMBERING, options=("--resume",))
    for _ in range(2):
        commands.join(where, *REMEMBERING)
    assert forgetful.code() == 2
    assert "does not hold what its clients remembered" in forgetful.said

    refused = commands.start("run", folder / "scenario.yaml", "--out", folder, "--resume")
    assert refused.code() == 2
    assert "lies with the processes that joined it" in refused.said

    server, where = commands.serve("run", *REMEMBERING, options=("--resume",))
    assert [command.code() for command in (server, *joined(where))] == [0, 0, 0], server.said
    assert (folder / "rounds.jsonl").read_bytes() == (alone / "rounds.jsonl").read_bytes()


@pytest.mark.end_to_end
def test_what_clients_remembered_without_a_folder_is_gone_and_no_resume_pretends_otherwise(commands) -> None:
    server, where = commands.serve("run", *REMEMBERING)
    joined = [commands.join(where, *REMEMBERING) for _ in range(2)]
    server.sees(lambda: len(rounds(commands.folder / "run")) > 2)
    joined[0].says("without --states what clients remember ends with this process")
    server.kill(signal.SIGINT)
    assert server.code() == 130
    assert (
        "which cannot be gone on with: what clients remembered is gone with a process that joined without"
        in server.said
    )
    assert "to go on" not in server.said
    forgetful, _ = commands.serve("run", *REMEMBERING, options=("--resume",))
    assert forgetful.code() == 2
    assert "is gone with a process that joined without --states: begin anew with another --out" in forgetful.said


@pytest.mark.end_to_end
def test_a_server_to_which_nobody_came_leaves_no_folder_in_the_way(commands) -> None:
    server, _ = commands.serve("run", "network.wait_seconds=0.2")
    assert server.code() == 1
    assert "0 of 2 processes joined within network.wait_seconds (0.2 s)" in server.said
    assert not (commands.folder / "run").exists()


@pytest.mark.end_to_end
def test_who_has_another_token_scenario_or_no_place_is_refused_and_the_run_goes_on(commands) -> None:
    server, where = commands.serve("run")
    wrong = commands.join(where, token=commands.secret("f" * 32))
    assert wrong.code() == 2
    assert wrong.said.splitlines()[-1].endswith(
        "does not let us in: the token is not the server's; give its own by --token-file or PRIPRUNE_TOKEN"
    )
    assert " was refused: the token is not the server's" in server.said and "f" * 32 not in server.said
    other = commands.join(where, "algorithm.lr=0.2")
    assert other.code() == 2
    assert other.said.splitlines()[-1] == (
        "priprune: the server refuses: scenario algorithm is another than the server's: give both the same scenario "
        "and the same --set"
    )
    absent = commands.join(where, options=("--clients", "3-6"))
    assert absent.code() == 2
    assert "--clients must lie in 0-5, got 3-6" in absent.said
    good = [commands.join(where, options=("--clients", clients)) for clients in ("0-3", "4-5")]
    assert [command.code() for command in (server, *good)] == [0, 0, 0], server.said
