"""Classification of images from few labels, with confidences, error rates, and rejection of unknown images."""
