"""Bytes by key: one promise (`interface`), kept in memory, LMDB and Redis. Knows nothing of what the bytes mean."""
