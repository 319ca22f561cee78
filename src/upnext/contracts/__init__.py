"""Contracts: bytes become an event or an item, or a rejection that says why. Pure: no clock, no storage."""
