"""Work done before it is asked for: shortlists, made on several occasions, kept in two levels."""
