"""The company that the demo shows, made through the public API and the trackers' HTTP alone: by `northing
demo` in a database of its own, and by one click in an installation that is empty."""
