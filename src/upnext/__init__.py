"""Real-time personalization: events in, models trained, compressed, released, served inside a hard deadline."""

__version__ = "0.1.0"
