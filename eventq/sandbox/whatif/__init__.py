"""A recorded workload under another policy, in virtual time; no log is written."""
