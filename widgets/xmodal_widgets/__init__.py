"""The live layer of xmodal_lab."""
