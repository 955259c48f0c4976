"""From a Call to an upstream's socket and back to a Reply. No policy here."""
