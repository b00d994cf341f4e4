"""What people see. Reads results, decides nothing; used by the command line, exported scripts and the pytest plugin only."""
