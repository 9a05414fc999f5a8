r"""A page in the browser on which sliders set a run, and curves are drawn beside the theory."""

from .widget import Widget, widget

__all__ = ["Widget", "widget"]
