"""People's decisions about an atlas: label, flag, check, gather, export."""
