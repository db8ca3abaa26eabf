"""Kernels under Oclgrind, an interpreter of OpenCL that watches every access: memory errors, races, values that
nobody wrote.

The launches are those of the backend itself: graphs in `graphs.py`, compiled and run by `child.py` in a process of its
own. Oclgrind ends with 0 whatever it finds, so `watch.py` reads its log.
"""
