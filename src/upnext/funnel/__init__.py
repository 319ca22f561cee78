"""One request: an answer that only gets better until its deadline. Knows nothing of HTTP or of training."""
