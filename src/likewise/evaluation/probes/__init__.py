"""What encoders are scored by, one file a probe, and what every probe is given (`protocol`)."""
