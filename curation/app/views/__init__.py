"""One module a page, each a function `page(workspace)`."""
