from priprune_plugins.report.claims import Claim, claims


def test_a_figure_stands_beside_what_it_assumes() -> None:
    found = claims(
        {
            "claims": {
                "dp": {
                    "delta": 1e-5,
                    "epsilon_server": 4.7251,
                    "epsilon_server_assumes": "q = 1",
                    "epsilon_central": None,
                },
                "shield": 0.25,
            }
        }
    )
    assert found == [
        Claim("dp", "delta", "1e\u221205", ""),
        Claim("dp", "epsilon server", "4.725", "q = 1"),
        Claim("dp", "epsilon central", "\u2013", ""),
        Claim("shield", "", "0.25", ""),
    ]


def test_an_assumption_without_its_figure_is_a_row_and_an_old_summary_has_none() -> None:
    assert claims({"claims": {"x": {"y_assumes": "z"}}}) == [Claim("x", "y assumes", "z", "")]
    assert claims({}) == []
