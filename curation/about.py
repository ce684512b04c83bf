"""What a bug report needs: versions, paths, device, what is plugged in, a dataset's state."""

import os
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch torchvision open_clip_torch onnxruntime umap-learn hdbscan scikit-learn numpy numba "
    "lancedb pyarrow pillow streamlit opencv-python-headless pyroaring"
).split()


def about() -> dict[str, Any]:
    """Return versions, both packages' paths, device, registries and the datasets' home."""
    import curation
    import embeddings
    from curation.checks import CHECKS
    from curation.exporters import EXPORTERS
    from embeddings.cluster import CLUSTERERS
    from embeddings.dataset import SCHEMA_VERSION, home, names
    from embeddings.encoders import ENCODERS
    from embeddings.project import LAYOUTS
    from embeddings.sources import SOURCES

    registries = (SOURCES, ENCODERS, LAYOUTS, CLUSTERERS, CHECKS, EXPORTERS)
    return {
        "curation-atlas": _version("curation-atlas"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": _device(),
        "home": str(home()),
        "datasets": len(names()),
        "schema": SCHEMA_VERSION,
        # another distribution installs a package called embeddings too: see the README
        "embeddings": str(Path(embeddings.__file__).parent),
        "curation": str(Path(curation.__file__).parent),
        **{f"{registry.kind}s": ", ".join(registry.names()) for registry in registries},
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def about_dataset(name: str) -> dict[str, Any]:
    """Return how far each stage is, files by status, reasons, and the last build's report."""
    from curation.intake import intake, last_build
    from curation.workspace import Workspace
    from embeddings import stageflags

    workspace = Workspace(name)
    found = intake(workspace)
    return {
        "name": name,
        "stages": stageflags.summary(workspace.store),
        "files": {
            "met": found.files,
            "images": found.images,
            "duplicates": found.duplicates,
            "unreadable": found.unreadable_files,
            "missing": len(found.missing),
        },
        "unreadable": {each.reason: len(each.files) for each in found.unreadable},
        "last_build": last_build(workspace),
    }


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name(0)}), {cores} cores"
    return f"cpu, {cores} cores, {torch.get_num_threads()} torch threads"
