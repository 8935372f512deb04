"""A consumer group's new rows as DataFrames, once or batch by batch."""
