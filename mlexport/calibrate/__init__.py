"""What calibration text tells about a cut: moments of inputs, outliers, better roundings, what each tensor costs."""
