"""`python -m curation.cli` is `curate`."""

from curation.cli import main

main()
