"""The results of a sweep as parquet, which keeps the types that CSV loses; needs pyarrow, the extra ``parquet``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from priprune_plugins.checkpoint.durable import replace_durably, sync


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Write rows as one parquet file, and say whether pyarrow is there to do so.

    A column whose values are of several kinds is text: an axis may take ``0.3`` and ``none``.

    Args:
        path: The file; replaced whole. Where pyarrow is absent, one of an earlier time is removed, not left behind.
        rows: One mapping per line; an absent key is null.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        path.unlink(missing_ok=True)
        return False
    names = dict.fromkeys(name for row in rows for name in row)
    table = pyarrow.table({name: _column([row.get(name) for row in rows]) for name in names})
    temporary = path.with_name(f"{path.name}.part")
    parquet.write_table(table, temporary)
    sync(temporary)
    replace_durably(temporary, path)
    return True


def _column(values: Sequence[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return [float(value) if value is not None and float in kinds else value for value in values]
    if len(kinds) == 1 and kinds <= {str, bool}:
        return list(values)
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
