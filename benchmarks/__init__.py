"""Ratios of two things measured in turn: `python -m benchmarks --list`."""
