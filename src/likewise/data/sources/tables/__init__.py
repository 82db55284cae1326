"""Images that Parquet files hold or name."""
