"""What became of one alert, read from the topics alone."""
