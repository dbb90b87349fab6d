"""What the command line, a notebook and tests are clients of: a search from its settings to its front. Nothing here prints."""
