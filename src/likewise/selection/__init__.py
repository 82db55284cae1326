"""Which images to have labelled before any label exists."""
