"""A collection of images as a map on one page, or as a Parquet table: what an encoder finds alike lies side by side."""
