"""What CPU kernels are written in: vectors of sixteen lanes, threads, compiled code on disk."""
