"""Is what comes in now still what was collected before: tests of new data against old, on features."""
