"""The version, in a module that imports nothing: whoever needs it does not import the public API."""

__version__ = "0.1.0"
