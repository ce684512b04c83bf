"""Starts one peer on given places, in the peer's own environment, so it imports none of ours.

``map_peer_child.py NAME N FOLDER PORT``: the folder holds ``N.npz`` (x, y, cluster, picture).
"""

import os
import sys
from pathlib import Path

import numpy as np

LINKS = 50_000  # names of one file: ext4 allows 65,000


def spotlight(found: dict[str, np.ndarray], _folder: Path, port: int) -> None:
    """Show a scatter plot of the places: nothing has to be laid out first."""
    import pandas
    from renumics import spotlight
    from renumics.spotlight import layout

    frame = pandas.DataFrame({name: found[name] for name in ("x", "y", "cluster")})
    plot = layout.scatterplot("map", x_column="x", y_column="y", color_by_column="cluster")
    spotlight.show(
        frame,
        port=port,
        no_browser=True,
        wait="forever",
        layout=layout.layout([plot]),
        analyze=False,
    )


def lightly(found: dict[str, np.ndarray], folder: Path, port: int) -> None:
    """Index as many files, with the places as their embeddings; it lays them out anew."""
    os.environ["LIGHTLY_STUDIO_ANALYTICS_ENABLED"] = "false"
    os.environ["LIGHTLY_STUDIO_HOST"], os.environ["LIGHTLY_STUDIO_PORT"] = "127.0.0.1", str(port)
    import lightly_studio as studio
    from lightly_studio.database import db_manager
    from lightly_studio_serve.embedder import ImagePathEmbedder

    pictures = folder / f"pictures{len(found['x'])}"
    pictures.mkdir()
    first = pictures
    for number in range(len(found["x"])):
        picture = pictures / f"{number:07d}.jpg"
        if number % LINKS == 0:
            first = picture
            picture.write_bytes(found["picture"].tobytes())
        else:
            os.link(first, picture)  # a million files of one block each would be 4 GB

    class Given(ImagePathEmbedder):
        """Turns a file's number into its place."""

        def embedding_space_spec(self):
            return studio.EmbeddingSpaceSpec(space_key="bench/places@1", dimension=2)

        def embed_images(self, paths):
            rows = [int(Path(path).stem) for path in paths]
            places = np.stack([found["x"][rows], found["y"][rows]], axis=1).astype(np.float32)
            return studio.EmbeddingResult(embeddings=places, kept_indices=list(range(len(rows))))

    db_manager.connect(db_file=str(folder / f"{len(found['x'])}.db"), cleanup_existing=True)
    studio.register_default_embedder(embedder=Given())
    studio.ImageDataset.create().add_images_from_path(path=str(pictures))
    studio.start_gui()


if __name__ == "__main__":
    name, count, where, number = sys.argv[1:]
    with np.load(Path(where) / f"{count}.npz") as arrays:
        places = {key: arrays[key] for key in arrays.files}
    start = {"renumics-spotlight": spotlight, "lightly-studio": lightly}[name]
    start(places, Path(where), int(number))
