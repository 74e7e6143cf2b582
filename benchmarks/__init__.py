"""Measurements: each prints ratios from one run, against a peer or a floor."""
