"""The container backend: its pure parts by themselves, the rest on a real engine."""
