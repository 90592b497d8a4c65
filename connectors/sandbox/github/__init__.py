"""A simulated GitHub host: the REST calls an issue integration needs, and simple ticket pages."""
