"""The few files that run an app on another platform: ``spillgate package``.

``contents`` finds what an app consists of: its source, what that imports, what its handler is
like, and puts it into the image's folder. ``runpod``, ``modal`` and ``cog`` write the files of one
platform each; ``next_steps`` is what a person has to do then.
"""
