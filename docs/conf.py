"""Sphinx's settings."""

from importlib.metadata import version as _version

project = "walrus_ts"
author = "walrus_ts developers"
copyright = "2026, walrus_ts developers"
release = _version("walrus-ts")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
# No intersphinx: the documentation builds without a network.

source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = False  # the one table, in api.md, links into its own page
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # a docstring's Parameters section has the types already
numpydoc_show_class_members = False  # autodoc lists them
# The types in "Parameters" are for people ("uint64 array, shape (n,)"), and cannot all be links.
numpydoc_xref_param_type = False
nitpicky = False

html_theme = "pydata_sphinx_theme"
html_title = "walrus_ts"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "show_toc_level": 2,
}
html_show_sourcelink = False
