"""`python -m app` is `northing`."""

from app.cli import main

main()
