"""One module a page: from a sight and a question to a model without HTML."""
