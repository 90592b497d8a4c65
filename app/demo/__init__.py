"""`northing demo`: shows what Northing does, over the public API and the trackers' HTTP alone."""
