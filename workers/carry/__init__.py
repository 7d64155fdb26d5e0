"""Light curves carried from a namespace to another: a file that any reader of Parquet opens."""
