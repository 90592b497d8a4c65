"""A simulated GitHub host: the REST calls that an issue integration needs, and simple ticket pages."""
