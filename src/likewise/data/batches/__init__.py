"""Which images make up which batch, and how batches come to the device."""
