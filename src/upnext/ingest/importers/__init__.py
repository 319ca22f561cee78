"""Importers of known data sets: one file per format, each a stream of items, users, events and rejections."""
