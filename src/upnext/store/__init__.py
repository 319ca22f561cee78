"""Bytes by key: one promise (`interface`), kept in memory and in LMDB. Knows nothing of what the bytes mean."""
