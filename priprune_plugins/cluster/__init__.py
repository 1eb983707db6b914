"""Ray: a session on a cluster, and a crew whose workers there carry out the visits of a round."""
