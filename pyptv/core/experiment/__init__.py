"""The experiment folder: parameters, calibrations, names, images."""
