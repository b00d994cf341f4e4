"""Reports for continuous integration: JUnit XML, GitHub annotations and step summaries."""
