"""From a log to a release, step by step: the wiring of the offline half with the funnel that will serve."""
