"""FedLab's trainers and handlers driven one client at a time, with hooks between the steps."""
