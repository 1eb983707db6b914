"""What a terminal shows of the bounds: a table of totals, what each mended slip adds, Theorem 4.2, the warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 140
_LINE_2 = "line 2, does not follow"
_SLIPS = {
    "sign_of_sigma": "whitening is g = Sigma^(1/2) z, not Sigma^(-1/2) z: -4 Delta",
    "log_b_per_dimension": "H(X / B) = H(X) - d* log2 B, not - log2 B: -2 (d* - 1) log2 B",
    "covariance_of_a_sum": "a sum of B whitened gradients has covariance B I, not I: d* log2 B",
    "mask_entropy": "d* coordinates of a mask have up to d* H2(p) bits: d* H2(p) - p-term",
}


def print_bounds(content: Mapping[str, Any]) -> None:
    """Print the content of ``bound.json``."""
    console = Console()
    # A terminal wraps what is too long; a table that wraps its own cells cannot be searched or copied.
    console = Console(width=max(console.width, _WIDTH), highlight=False)
    if content["points"]:
        _print_theorem_1(console, content["points"])
    if content["theorem_4_2"]:
        _print_theorem_4_2(console, content["theorem_4_2"])
    for warning in content["warnings"]:
        console.print(Text(f"note: {warning}"), soft_wrap=True)


def _print_theorem_1(console: Console, points: Sequence[Mapping[str, Any]]) -> None:
    console.print(Text("PriPrune, arXiv:2310.19958: bits of one round's leakage, log to base 2"))
    table = _table(
        "round", "p", "B", "n", "d*", "Delta", "p-term", "printed", "corrected", "Eq. 23", _LINE_2, "T", "T x"
    )
    for point in points:
        table.add_row(*(Text(cell) for cell in _cells(point)))
    console.print(table)
    last = points[-1]
    console.print(Text("from printed to corrected, last row:"))
    for name, bits in last["mended"].items():
        # Adding 0 turns the -0.0 of a batch of one into 0.0.
        console.print(Text(f"  {bits + 0.0:+9.1f}  {_SLIPS[name]}"), soft_wrap=True)
    if last["batch_choice"] is not None:
        line = (
            f"which {last['batch_size']} of the {last['samples']} images a batch holds: {last['batch_choice']:.1f} bits"
        )
        console.print(
            Text(f"for scale: {line}, log2 C(n, B); a batch drawn from them can leak no more"), soft_wrap=True
        )


def _cells(point: Mapping[str, Any]) -> list[str]:
    eq_23, corollary = point["equation_23"] or {}, point["corollary_1"] or {}
    whole = (point["round"], f"{point['rate']:.3f}", point["batch_size"], point["samples"], point["d_star"])
    bits = (point["delta"], None, point["printed"]["total"], point["corrected"]["total"])
    shown = [_bits(value) for value in (*bits, eq_23.get("line_1"), eq_23.get("line_2"))]
    shown[1] = f"{point['printed']['terms']['p_term']:.3f}"
    return [*("-" if value is None else str(value) for value in whole), *shown, *_product(corollary)]


def _product(corollary: Mapping[str, Any]) -> tuple[str, str]:
    return (str(corollary["rounds"]), _bits(corollary["total"])) if corollary else ("-", "-")


def _print_theorem_4_2(console: Console, noise: Mapping[str, Any]) -> None:
    measured = noise["measured"]
    where = noise["layer"] + (f" at round {noise['round']}" if "round" in noise else "")
    console.print(Text(f"Privacy-preserving Learning via Deep Net Pruning, arXiv:2003.01876, Theorem 4.2, on {where}"))
    reached = f"eps_ap = {measured['epsilon_ap_reached']:.3g} at delta_ap = {noise['delta_ap']:g}"
    further = f"delta_ap = {measured['delta_ap']:.3g} at eps_ap = {noise['epsilon_ap']:g}"
    promise = f"eps_dp = sigma_A m^2 / (C delta_dp) = {measured['epsilon_dp']:.4g}"
    worst = f"({measured['delta_ap_worst']:.3g} at the worst of {noise['directions']} inputs)"
    rows = (
        ("layer", f"m = {measured['width']}, d = {measured['inputs']}, sigma_A = {measured['sigma_a']:.4g}"),
        ("pruned", f"rate {measured['rate']:.3g} by magnitude, threshold a = {measured['threshold']:.4g}"),
        ("constants", f"C = {noise['constant']:g}, noise scale sigma = {noise['noise_scale']:g}; the paper gives none"),
        ("promise", f"{promise} at delta_dp = {noise['delta_dp']:g}"),
        ("width", measured["width_condition"]),
        ("closeness", f"{further} {worst}; {reached}; outputs of g {measured['output_rms']:.3g} (rms)"),
    )
    for name, text in rows:
        console.print(Text(f"  {name:<10} {text}"), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
