"""Exports of a finished run in the forms that recommender libraries read; one module for each form.

`ExportFormat` is what such a module declares, `write_export` carries it out, and `format_names` lists them.
"""
