"""What commands show, as tables for people and as JSON for programs."""
