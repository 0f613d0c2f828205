"""What people read: the HTML report, its charts, and the messages on the terminal."""
