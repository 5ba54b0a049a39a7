"""One model, as each of the contenders wants it written."""
