"""What the confidence of mattes is worth: calibration, reliability, and quality against cost in a cascade."""
