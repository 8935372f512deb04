"""Sphinx's settings."""

from importlib.metadata import version as _version
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

HERE = Path(__file__).parent

project = "walrus_ts"
author = "walrus_ts developers"
copyright = "2026, walrus_ts developers"
release = _version("walrus-ts")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_nb",  # Markdown, and the notebooks
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
]
# No intersphinx: the documentation builds without a network.

source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Notebooks are shown with the outputs that they are stored with; the tests run them.
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # no output needs a widget, and its scripts would come from the network

autosummary_generate = False  # the one table, in api.md, links into its own pages
autodoc_member_order = "bysource"
default_role = "autolink"  # `name` in a docstring is a link where there is such a thing
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # a docstring's Parameters section has the types already
numpydoc_show_class_members = False  # autodoc lists them
# The types in "Parameters" are for people ("uint64 array, shape (n,)"), and cannot all be links.
numpydoc_xref_param_type = False
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!walrus_ts).*"),  # what is not ours is documented elsewhere
    (r"py:.*", r"walrus_ts\.[a-z_]+\..*"),  # what lies in a module is not public; classes name it as their bases
]

html_theme = "pydata_sphinx_theme"
html_title = "walrus_ts"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "pygments_dark_style": "github-dark",
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}
html_sidebars = {"index": []}
html_static_path = ["_static"]
html_css_files = ["walrus_ts.css"]
html_show_sourcelink = False
html_copy_source = False


def _copy_notebooks(app: Sphinx, config: Config) -> None:
    """Copy the notebooks into docs/, for Sphinx looks nowhere else; a copy that has not changed is left as it is."""
    copies = HERE / "notebooks"
    copies.mkdir(exist_ok=True)
    notebooks = {
        path.name: path.read_text(encoding="utf-8").replace("](../docs/", "](../")
        for path in (HERE.parent / "notebooks").glob("*.ipynb")
    }
    for copy in copies.glob("*.ipynb"):
        if copy.name not in notebooks:
            copy.unlink()
    for name, text in notebooks.items():
        copy = copies / name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register what is this project's own."""
    app.connect("config-inited", _copy_notebooks)
