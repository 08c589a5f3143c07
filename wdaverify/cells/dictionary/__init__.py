"""Enumeration of cells by a simplex dictionary for each: any support, any dimension."""
