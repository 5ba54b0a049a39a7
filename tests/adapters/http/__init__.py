"""The toolkit ``adapters.http``: the client against servers that cut, stall and babble; streams."""
