"""FedLab's algorithms, each as options, a trainer, a handler and a codec."""
