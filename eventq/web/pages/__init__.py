"""One module a page: from a scene and a question to a model without HTML."""
