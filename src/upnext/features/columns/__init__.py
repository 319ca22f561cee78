"""The engineered inputs of rankers: tables of name and formula, one module for each thing that they are made of.

A column takes a `Look` and gives (n,) float32, finite, each value independent of the other candidates, within what
float16 holds. What is not known is 0. Names are for ever: a release asks for its inputs by them.
"""
