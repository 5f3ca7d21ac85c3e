"""Evaluates the confidence of mattes: calibration, reliability, and quality against cost in a cascade."""
