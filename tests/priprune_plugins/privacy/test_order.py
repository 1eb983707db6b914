from typing import Any

from priprune_plugins.privacy.order import worst_first


def figures(nmi: float | None = None, psnr: float | None = None, passed: bool = True, **more: Any) -> dict[str, Any]:
    floors = {"black": {"psnr_db": 10.0, "nmi": 0.0}, "noise": {"psnr_db": 6.0, "nmi": 0.1}}
    return {"nmi": nmi, "psnr_db": psnr, "floors": floors, "positive_control": {"passed": passed}, **more}


def test_pictures_then_names_then_nothing_then_what_was_granted_then_void() -> None:
    attacks = {
        "void": figures(0.9, 40.0, passed=False),
        "oracle": figures(0.8, 30.0, granted=["start"]),
        "true labels": figures(0.7, 25.0, granted=["labels"]),
        "at the floor": figures(0.3, 11.9),
        "mask": figures(top1_share=0.5),
        "gradient": figures(top1_share=1.0),
        "sgi": figures(0.4, 12.0),
        "gi": figures(0.2, 13.0),
    }
    assert list(worst_first(attacks)) == [
        "sgi", "gi", "gradient", "mask", "at the floor", "true labels", "oracle", "void",
    ]  # fmt: skip


def test_an_attack_that_never_puts_the_truth_first_names_nobody() -> None:
    attacks = {"nobody": figures(top1_share=0.0), "at the floor": figures(0.3, 10.0)}
    assert list(worst_first(attacks)) == ["at the floor", "nobody"]
