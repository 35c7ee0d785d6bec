"""Files of models and of interrupted fits, written atomically and read without trust."""
