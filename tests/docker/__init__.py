"""The container world: pure parts by themselves, the rest on a real engine."""
