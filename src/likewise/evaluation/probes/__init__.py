"""The probes that score encoders, one file each, and the arguments that every probe gets (`protocol`)."""
