"""Vectors in, nearest rows out; the home of faiss. Knows nothing of items, users or releases."""

from upnext.index.opening import open_index

__all__ = ["open_index"]
