"""Samples with known truth, made on the spot: nothing to download, no licence to ask for."""
