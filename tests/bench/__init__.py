"""`make bench`: what Northing costs against the bare minimum of the same work, in ratios within one run."""
