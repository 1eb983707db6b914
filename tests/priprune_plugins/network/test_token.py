"""Where the token may stand."""

from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network.token import VARIABLE, read_token

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "x" * 16)
    assert read_token(written(tmp_path, f"{TOKEN}\n")) == TOKEN.encode()
    assert read_token(None) == b"x" * 16


def test_without_a_token_nobody_serves() -> None:
    with pytest.raises(ScenarioError, match="no token: give --token-file, or set PRIPRUNE_TOKEN"):
        read_token(None)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="the token has 15 characters, it needs 16 or more"):
        read_token(written(tmp_path, TOKEN[1:]))


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="others may read"):
        read_token(written(tmp_path, TOKEN, 0o640))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file"):
        read_token(tmp_path / "absent")


def test_a_folder_is_no_token_file_and_no_reason_to_change_its_mode(tmp_path: Path) -> None:
    with pytest.raises(
        ScenarioError, match=f"--token-file must be a file, got the folder {tmp_path}; to make one: "
    ) as no:
        read_token(tmp_path)
    assert f"chmod 600 {tmp_path}" not in str(no.value)
