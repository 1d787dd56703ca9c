"""This process: cores, memory, logs."""
