"""The models: each module loads one and runs it on a batch."""
