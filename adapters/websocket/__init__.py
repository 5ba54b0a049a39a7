"""Either end of a WebSocket reads the other one some frames at a time.

``frames`` cuts what comes where frames end, ``pace`` says how many may come in a second and which
of them say nothing, ``reading`` gives them to a protocol in turns, and reads no more while there is
no room; ``stall`` cuts off who takes nothing. ``connection`` is the client's end. A transport hands
over up to 256 KB at once: that is 131,072 frames.

Source: RFC 6455, 5.2 (the frames).
"""
