"""What each framework is asked to do, as its users write it: a whole answer, a stream, tools,
errors, and a stream that is left. They run where their framework is installed.
"""
