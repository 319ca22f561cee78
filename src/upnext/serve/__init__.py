"""The HTTP application and its workers. Knows no algorithm: it parses, hands to the funnel, waits, and answers."""
