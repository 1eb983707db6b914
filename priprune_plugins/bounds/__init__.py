"""The papers' leakage bounds, as printed and with their slips mended; none of them ranks methods."""
