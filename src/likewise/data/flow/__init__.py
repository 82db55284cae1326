"""Optical flow of decoded videos: estimated once (`estimating`), and kept as a derived array (`fields`)."""
