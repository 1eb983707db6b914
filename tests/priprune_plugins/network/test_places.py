"""Which process has which clients."""

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.network.asked import clients_asked
from priprune_plugins.network.handshake import RefusedError
from priprune_plugins.network.places import Places, said


def test_clients_are_dealt_in_contiguous_parts_in_the_order_of_joining() -> None:
    places = Places(10, 3)
    for _ in range(3):
        places.take(None)
    assert [list(place.clients) for place in places.deal()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


def test_wishes_come_first_and_the_others_share_what_is_left() -> None:
    places = Places(10, 3)
    places.take(None), places.take(range(2, 5)), places.take(None)
    assert [list(place.clients) for place in places.deal()] == [[0, 1, 5], [2, 3, 4], [6, 7, 8, 9]]


def test_clients_that_nobody_has_stop_the_run_before_it_begins() -> None:
    places = Places(10, 2)
    places.take(range(4)), places.take(range(4, 7))
    with pytest.raises(ScenarioError, match="clients 7-9 belong to no process"):
        places.deal()


def test_the_same_clients_are_not_given_twice() -> None:
    places = Places(10, 2)
    places.take(range(4))
    with pytest.raises(RefusedError, match="--clients 3-5: another process has 0-3"):
        places.take(range(3, 6))


def test_clients_that_do_not_exist_are_refused() -> None:
    with pytest.raises(RefusedError, match="--clients must lie in 0-9, got 3-10"):
        Places(10, 2).take(range(3, 11))


def test_a_place_left_before_the_deal_is_gone_and_after_it_vacant_with_its_clients() -> None:
    places = Places(4, 2)
    places.leave(places.take(None))
    assert places.missing == 2
    first, second = places.take(None), places.take(None)
    places.deal()
    with pytest.raises(RefusedError, match="no place is vacant"):
        places.take(None)
    places.leave(second)
    with pytest.raises(RefusedError, match="no place of clients 0-1 is vacant"):
        places.take(range(2))
    assert places.take(range(2, 4)) is second
    assert (first.number, second.number) == (1, 2)


@pytest.mark.parametrize(("clients", "text"), [([], "none"), ([3], "3"), ([0, 1], "0-1"), ([0, 2], "0-2 (2 of them)")])
def test_clients_are_told_shortly(clients: list[int], text: str) -> None:
    assert said(clients) == text


@pytest.mark.parametrize("text", ["", "5", "3-1", "-1-2", "a-b", "1-2-3"])
def test_what_is_no_range_of_clients_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="--clients must be FIRST-LAST"):
        clients_asked(text)


def test_a_range_of_clients_includes_both_ends() -> None:
    assert list(clients_asked("0-2")) == [0, 1, 2]
