"""Activation cells: the polyhedra on which the network is affine."""
