"""Candidate generation: sources, merged. Knows no ranker and no rule."""
