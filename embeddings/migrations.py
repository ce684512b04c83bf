"""Datasets of an older schema are brought forward, one version after the other.

A step may be killed half way and is then run again from its beginning: it looks at what is there
before it changes anything. Decisions (the journal) are no part of the schema and are never touched.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from embeddings.disk import finished

Step = Callable[[Path], None]


def steps_from(version: int, tables: Path) -> Iterator[int]:
    """Bring the LanceDB directory `tables` forward from `version`; yields each version reached.

    The caller holds the dataset, and writes a version down once it is reached.
    """
    for reached, step in STEPS.items():
        if reached > version:
            step(tables)
            yield reached


def _locations_have_a_url(tables: Path) -> None:
    import lancedb
    import pyarrow as pa

    if not finished(tables, "locations"):
        return
    table = lancedb.connect(str(tables)).open_table("locations")
    if "url" not in table.schema.names:
        # given as a field and not as an expression: no row is written, whatever the size
        table.add_columns(pa.field("url", pa.string()))


STEPS: dict[int, Step] = {
    2: _locations_have_a_url,
}
