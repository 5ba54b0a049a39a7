"""The HTTP of both servers, over real sockets and over none."""
