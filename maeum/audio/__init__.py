"""Samples: reading files, mono at 16 kHz, MFCCs."""
