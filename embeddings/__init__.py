"""Pixels to vectors to atlas: knows no people and no user interface."""

from embeddings.errors import CurationError

__version__ = "0.1.0"

__all__ = ["CurationError", "__version__"]
