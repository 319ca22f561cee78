"""The bundle both halves meet in: written once, verified, opened by memory map, activated and rolled back by name."""
