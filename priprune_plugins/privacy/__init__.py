"""How much of an image a reconstruction shows: measures, floors and positive controls."""
