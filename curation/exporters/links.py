"""Ways out that point at images instead of holding them: a list of URLs, Cortex records."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.exporters import ExportRows, Progress
from embeddings.errors import CurationError
from embeddings.files import WEB

COLUMNS = ("url", "sha256", "category", "instance")


def export_urls(
    rows: ExportRows, target: Path, *, progress: Progress | None = None, excluded: bool = False
) -> Mapping[str, Any] | None:
    """Write `urls.csv` (url, sha256, category, instance), as `curate build` and img2dataset read.

    Each URL once; items flagged `excluded` only when asked for. Items that were published nowhere
    are left out and counted in the manifest.
    """
    table = rows.columns.select([*COLUMNS, "flags"]).to_pylist()
    chosen = [row for row in table if excluded or "excluded" not in (row["flags"] or ())]
    found = {row["url"]: row for row in chosen if str(row["url"]).startswith(WEB)}
    if chosen and not found:
        raise CurationError("none of the images has a URL; export as csv to have their paths")
    with (target / "urls.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found.values())
    if progress is not None:
        progress(len(rows), len(rows))
    without = sum(not str(row["url"]).startswith(WEB) for row in chosen)
    return {"urls": len(found), "without_url": without}


def export_cortex(
    rows: ExportRows, target: Path, *, progress: Progress | None = None
) -> Mapping[str, Any] | None:
    """Write `records.json`: ``{"output": [one record an image], "length": n}``."""
    image_ids = list(dict.fromkeys(rows.columns["image_id"].to_pylist()))
    with (target / "records.json").open("w", encoding="utf-8") as stream:
        stream.write('{"output": [')
        for done, record in enumerate(rows.cortex_records(image_ids), start=1):
            stream.write((",\n " if done > 1 else "\n ") + json.dumps(record, ensure_ascii=False))
            if progress is not None and done % 1000 == 0:
                progress(done, len(image_ids))
        stream.write(f'\n],\n "length": {len(image_ids)}}}\n')
    if progress is not None:
        progress(len(rows), len(rows))
    return {"records": len(image_ids)}
