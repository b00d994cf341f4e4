"""What people see. Reads results, decides nothing; used by the command line and the pytest plugin only."""
