"""What a client sees of the venue: sessions of the stream, answers of REST and Gamma, and the app that serves them."""
