"""From a trained model to what a server runs: folded, quantized, exported and compared; trains nothing."""
