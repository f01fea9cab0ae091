"""Forms of reports: one file for each tool's, which says what the text measures or finds, or that it says nothing."""
