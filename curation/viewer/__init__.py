"""The map and the contact sheet: what crosses to the browser, and how it is mounted."""
