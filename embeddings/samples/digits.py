"""scikit-learn's digits: 1,797 real scans with ten known classes, as PNG files."""

import csv
from pathlib import Path

import numpy as np

from embeddings.samples.folder import whole_folder

SIDE = 64  # pixels; the scans are 8 x 8


def render(folder: Path) -> Path:
    """Write the scans, white on black, and ``labels.csv`` (path,digit) beside them.

    The same bytes every time; a folder that is already rendered is left as it is. Source: the
    test part of the UCI "Optical Recognition of Handwritten Digits" (CC BY 4.0), in scikit-learn.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    CurationError
        When `folder` holds something else.
    """
    if (folder / "labels.csv").is_file():  # written last, renamed as a whole: it is complete
        return folder
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    with whole_folder(folder) as fresh:
        rows = []
        for number, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            pixels = np.round(scan * (255 / 16)).astype(np.uint8)
            image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            name = f"digit_{number:04d}.png"
            image.save(fresh / name)
            rows.append((name, int(digit)))
        with (fresh / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("path", "digit"))
            writer.writerows(rows)
    return folder
