"""A collection of images as a map on one page, or as a Parquet table, by similarity of features."""
