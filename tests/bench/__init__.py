"""`make bench`: what a sync costs against the bare minimum of the same work, in ratios within one run."""
