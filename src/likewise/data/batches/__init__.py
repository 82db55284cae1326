"""The order of images in batches, and the loading of batches onto the device."""
