"""Replies of any bytes, found by their coverage of the parsers: read as hiredis reads them, or refused as it does.

``make fuzz``, and a run of a few seconds among the tests. `targets` is what is fuzzed.
"""
