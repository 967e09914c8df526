"""What the product does, one function a verb: a frozen result, no printing, no command line."""
