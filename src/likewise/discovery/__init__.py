"""Category discovery: clusters of labelled and unlabelled images together, and their accuracy."""
