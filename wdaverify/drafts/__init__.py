"""A first draft of a question: from a network and data to a problem folder with stated guesses."""
