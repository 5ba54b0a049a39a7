"""What a valid policy says in vain, by what it says it of.

``every`` warning, in the order of the file; ``routes`` are those that can never match or use
nobody, ``stores`` what is kept where it may be lost or read, ``providers`` are asked in vain;
``places`` is where one stands.
"""
