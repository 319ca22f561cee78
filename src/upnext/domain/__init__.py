"""Plain values of the product: events, items, identities. No input or output."""
