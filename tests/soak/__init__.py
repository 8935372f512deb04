"""Work that goes on and on: memory, file descriptors and connections do not grow. ``make soak``, and a short run in CI.

`work` is what is done, `samples` what is measured meanwhile, and when that has grown.
"""
