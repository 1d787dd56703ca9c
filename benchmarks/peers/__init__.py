"""Other servers over the same models, each started as `python -m benchmarks.peers.<name> PORT [--tuned]`."""

TUNED = "--tuned"
