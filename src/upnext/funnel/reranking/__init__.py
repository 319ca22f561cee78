"""Deterministic rules over the ranked list. Knows no model."""
