"""Who comes in to the console, and stays.

``cookies`` are what a browser brings, and where it is led; ``sessions`` keeps who has signed in;
``with_key`` takes the key of the form.
"""
