"""Networks and the arithmetic under them: passes, matrix products, Adam, kernels with hand-written gradients."""
