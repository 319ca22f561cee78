"""The heavy model: candidates to scores. Knows no source and no rule."""
