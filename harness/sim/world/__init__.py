"""The simulated environment: event loop, network, disks, clocks, nodes and clients."""
