"""`python -m app` is `northing`."""

from app.cli.main import main

main()
