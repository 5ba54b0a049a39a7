"""RunPod's job plane, as its own client speaks it: ``requests`` are what is asked, ``views`` what
is told, ``endpoints`` the paths.

Source: https://docs.runpod.io/serverless/endpoints/operation-reference
"""
