"""Server and clients in processes of their own, over sockets: what FedLab's cross-process mode is for."""
