"""Frames become things for people: CSV, pictures, summaries. Knows no store: given frames, it returns text or bytes."""
