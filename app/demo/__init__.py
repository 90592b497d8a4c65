"""`northing demo`: the main job shown from outside, over the public API and the trackers' HTTP alone."""
