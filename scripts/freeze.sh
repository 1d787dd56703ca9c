#!/bin/sh
# Print the lock: every installed package at its version, torch without its build's local part, maeum itself left out.
set -eu
echo "# Made by 'make lock' from pyproject.toml; do not edit."
"$1" freeze --exclude-editable --exclude pip --exclude setuptools | sed 's/^torch==\([0-9.]*\).*/torch==\1/'
