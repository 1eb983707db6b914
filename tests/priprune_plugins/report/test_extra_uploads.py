"""What else left the clients, as the report's table has it."""

from priprune_plugins.report.extra_uploads import ExtraUpload, extra_uploads


def test_the_setup_round_comes_first_and_rounds_are_summed() -> None:
    rounds = [
        {"round": 0, "extras": {"dc": 10}},
        {"round": 1, "extras": {"dc": 30, "squares": 7}},
        {"round": 2, "extras": {}},
        {"round": 3, "extras": {"dc": 2}},
    ]
    assert extra_uploads(rounds, {"setup_extras": {"scores": 5}}) == [
        ExtraUpload("scores", "setup round, before training", 5),
        ExtraUpload("dc", "3 rounds, from 0 to 3", 42),
        ExtraUpload("squares", "round 1", 7),
    ]


def test_runs_that_know_of_no_extras_have_none() -> None:
    assert extra_uploads([{"round": 0}], {}) == []
