"""One model, as each of the contenders wants it written.

``mlp`` is the model, ``payload`` what every request says, ``batching`` how all batch; ``ours``,
``litserve_app``, ``bento_app``, ``ray_app`` and ``mosec_app`` serve it. ``heavy`` is a model that
is as slow as its device, ``bodies`` gives back what came.
"""
