"""Entries as columns: pure functions on Arrow arrays and bytes. No network, no redis, no pandas."""
