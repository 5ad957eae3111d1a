"""What a swarm draws and does to a simulated cluster, and the liveness phase after it."""
