"""Reports for people and machines. They read results and decide nothing; the command line, the plugin and the API use them."""
