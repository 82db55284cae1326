"""Classes of images from few labels: how sure, how often wrong, and which images are none of them."""
