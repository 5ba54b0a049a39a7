"""The limit: nginx passes the bytes on and knows nothing.

Its buffers hold a large body whole: with the defaults it would go by a file on the disk.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.gateway.contenders.base import Running
from benchmarks.gateway.processes import HOST, free_port
from benchmarks.gateway.target import Target
from benchmarks.gateway.upstream import READY, nginx, wait_for_answer

PASSES = """\
    upstream model {{ server {host}:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 8 32k;
            client_body_buffer_size 512k;
        }}
    }}
"""


class Nginx:
    name = "nginx"
    streams = True
    large = True

    def start(self, upstream: Target, folder: Path) -> Running:
        port = free_port()
        block = PASSES.format(host=HOST, upstream=upstream.address[1], port=port)
        child = nginx(folder, block)
        target = Target(url=f"http://{HOST}:{port}")
        wait_for_answer(child, target, what=self.name, deadline=READY)
        return Running(child=child, target=target)
