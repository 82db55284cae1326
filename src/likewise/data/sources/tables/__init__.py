"""Parquet files that hold images or their paths."""
