"""Classes that nobody named: clusters of labelled and unlabelled images together, and how well they are found."""
