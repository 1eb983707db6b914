"""What release cannot work beside is refused by name."""

import pytest

from priprune_defenses.release_company import check_company
from priprune_plugins import ScenarioError


@pytest.mark.parametrize(
    ("defenses", "message"),
    [
        ([{"name": "priprune"}, {"name": "release"}], "priprune, which composes start weights"),
        ([{"name": "release"}, {"name": "priprune"}], "priprune, which composes start weights"),
        ([{"name": "mix", "keep_local": True}, {"name": "release"}], "set keep_local: false"),
        ([{"name": "release"}, {"name": "largest"}], "largest withholds after release"),
        ([{"name": "release"}, {"name": "release"}], "release stands twice"),
    ],
)
def test_company_that_cannot_work_is_refused(defenses, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        check_company({"algorithm": {"name": "fedavg"}, "defenses": defenses})


def test_scaffold_is_refused_and_an_earlier_withholding_defence_is_not() -> None:
    for name in ("scaffold", "feddyn"):
        with pytest.raises(ScenarioError, match=f"algorithm {name}"):
            check_company({"algorithm": {"name": name}, "defenses": [{"name": "release"}]})
    check_company({"algorithm": {"name": "fedavg"}, "defenses": [{"name": "largest"}, {"name": "release"}]})
