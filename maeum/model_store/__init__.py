"""How models are named, fetched and checked."""
