"""Anomalies and histories as text: lanes, proofs, words."""
