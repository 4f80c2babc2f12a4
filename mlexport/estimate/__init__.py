"""Latency that was not measured: operations counted in the files, and a profile's figures."""
