"""What would have been under another policy, in virtual time."""
