"""How models learn: data as arrays, loops, checkpoints; nothing here is imported by a server."""
