"""Configuration of the documentation site; `.ci/docs FOLDER` builds it from an assembled source."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_site"))

import pictures

import metaspan

project = "metaspan"
copyright = "the metaspan developers"
version = release = metaspan.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "citations",
]
exclude_patterns = ["_site"]

# Pages: the Markdown of a code host.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["config.cache"]

# Docstrings: a single backtick marks code.
default_role = "literal"
smartquotes = False  # which make a dash of the two hyphens of an option
autosummary_generate = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()

# The page.
html_theme = "furo"
html_title = f"metaspan {release}"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {"navigation_with_keys": False, "top_of_page_buttons": []}
pygments_style = "tango"
pygments_dark_style = "github-dark"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"flights_data\.py$",  # a module that an example imports
    "image_scrapers": (pictures.scrape,),
    "reset_argv": pictures.arguments,
    "reset_modules": ("matplotlib", pictures.remember),
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "show_api_usage": False,
    "write_computation_times": False,
    "min_reported_time": 10**6,
    "remove_config_comments": True,
    "copyfile_regex": "",
}
