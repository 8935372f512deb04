"""What a load, a read and a small call cost, beside redis-py, walrus and a bare socket: ``make bench``.

`frames` makes the data, `peers` and `sockets` do the work, `cases` says who is held against whom, `measure` and
`memory` take the figures, `servers` runs the server, `report` writes the tables. docs/performance.md tells the rest.
"""
