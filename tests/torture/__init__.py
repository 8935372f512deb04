"""Workers that are killed, connections that are cut, a server that is restarted: no row is lost, none done twice.

``make torture``, and a small run of it among the tests. `run` is the torturer, `worker` what its workers run.
"""
