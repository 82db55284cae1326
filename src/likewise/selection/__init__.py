"""Selection of images to label, before any label exists."""
