"""The asyncio shell of a node: sockets, files, timers and HTTP around the sans-IO replica."""
