"""`python -m maeum`: the command line, also where the package is not installed, as in the image."""

from maeum.cli import main

raise SystemExit(main())
