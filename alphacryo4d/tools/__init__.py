"""Commands beside the four stages: check, convert, doctor, cite, status, external."""
