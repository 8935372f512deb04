"""Loads, scans and consumers under harm that is done at random bytes: no row is lost, and none there twice.

``make faults``, and a small run of it among the tests. `catalogue` lists the faults; each file beside it holds those of
one kind; `rows` knows what there has to be in the end, and asks the server for it by redis-py alone.
"""
