"""Which tensor gets which scheme and why (plan), and the kernels that pack it."""
