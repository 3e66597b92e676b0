"""Whatever comes over the wire is answered with the same bytes, with the tracker and without.

The same raw bytes go to three copies of one app behind one real server: bare, tracked, and
tracked with the page script, whose index alone may differ, by its one tag.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import attrs
import pytest
from conftest import Program
from hostile_server import KINDS

HERE = Path(__file__).parent
SERVERS = {
    "gunicorn-sync": ["-m", "gunicorn", "-k", "sync", "--timeout", "60"],
    "gunicorn-threads": ["-m", "gunicorn", "-k", "gthread", "--threads", "4", "--keep-alive", "2", "--timeout", "60"],
    "waitress": ["hostile_server.py", "waitress"],
    "werkzeug": ["hostile_server.py", "werkzeug"],
}

CALLBACK = "/_dash-update-component"
MEGABYTES = 5 << 20

# -- what a client does, step by step ------------------------------------------------------


@attrs.frozen
class Read:
    """Wait for that many bytes of the answer before going on."""

    size: int


HALF_CLOSE = "half close"  # nothing more will be sent, the answer is still read
HANG_UP = "hang up"  # reset the connection and be gone
PAUSE = "pause"  # long enough for the server to have read what there is


def message(path="/", *headers, method="GET", body=b"", version="HTTP/1.1", close=True):
    lines = [f"{method} {path} {version}", "Host: localhost", *headers]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def post(body, *headers, path=CALLBACK, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return message(path, "Content-Type: application/json", *headers, method="POST", body=body, **more)


def click(n=1, **more):
    return {
        "output": "out.children",
        "outputs": {"id": "out", "property": "children"},
        "inputs": [{"id": "btn", "property": "n_clicks", "value": n}],
        "changedPropIds": ["btn.n_clicks"],
        **more,
    }


def marked(value):
    return post(click(), f"X-Dash-Page: {value}")


def chunked(*chunks, end=b"0\r\n\r\n", path="/echo"):
    head = message(path, "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


MARK = {"i": "0123456789abcdef", "p": "/", "a": 1, "v": [[1, "l", "/", 0, ""]]}

#: What is sent, by the name of what is odd about it.
CASES = {
    # the plain ones, so that the rest says something
    "page": message("/sales?x=1"),
    "callback": post(click()),
    "callback-fails": post(click(13)),
    "kept-connection": message("/", close=False) + message("/_dash-layout", close=False) + post(click()),
    # request lines
    "line-garbage": b"\x00\x01\x02\xff\xfe\r\n\r\n",
    "line-tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "line-empty-ones-first": b"\r\n\r\n" + message(),
    "line-one-word": b"GET\r\n\r\n",
    "line-http-0.9": [b"GET /\r\n", HALF_CLOSE],
    "line-no-host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "line-two-hosts": message("/", "Host: elsewhere"),
    "line-http-1.0": message("/", version="HTTP/1.0"),
    "line-http-2.0": message("/", version="HTTP/2.0"),
    "line-http-9.9": message("/", version="HTTP/9.9"),
    "line-http2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "line-lower-case": message("/", method="get"),
    "line-spaces": b"GET  /  HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "line-tabs": b"GET\t/\tHTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "line-bare-newlines": [b"GET / HTTP/1.1\nHost: x\nConnection: close\n\n", HALF_CLOSE],
    "line-absolute": message("http://elsewhere:81/sales?x=1"),
    "line-absolute-bad-port": message("http://elsewhere:port/sales"),
    "line-authority": message("localhost:80", method="CONNECT"),
    "line-asterisk": message("*", method="OPTIONS"),
    "line-cut-off": [b"GET / HT", HALF_CLOSE],
    "line-cut-off-header": [b"GET / HTTP/1.1\r\nHost: lo", HALF_CLOSE],
    # methods
    "method-head": message("/", method="HEAD"),
    "method-head-callback": message(CALLBACK, method="HEAD"),
    "method-options": message(CALLBACK, "Origin: http://x", "Access-Control-Request-Method: POST", method="OPTIONS"),
    "method-trace": message("/echo", method="TRACE"),
    "method-put": message(CALLBACK, method="PUT", body=b"{}"),
    "method-delete": message(CALLBACK, method="DELETE"),
    "method-unknown": message("/", method="BREW"),
    "method-odd-letters": message("/", method="G\xcbT"),
    "method-long": message("/", method="G" * 5000),
    "method-get-with-body": message(CALLBACK, method="GET", body=json.dumps(click()).encode()),
    # paths
    **{
        f"path-{name}": message(path)
        for name, path in {
            "double-slash": "//",
            "double-slash-host": "//evil.example/x",
            "double-slash-callback": "//_dash-update-component",
            "dots": "/../../etc/passwd",
            "encoded-dots": "/%2e%2e/%2e%2e/etc/passwd",
            "assets-dots": "/assets/%2e%2e/%2e%2e/setup.cfg",
            "nul": "/%00",
            "nul-inside": "/address/a%00b",
            "newline": "/address/a%0d%0aSet-Cookie:x=1",
            "not-utf8": "/address/%ff%fe%80",
            "raw-bytes": "/address/caf\xe9\xff",
            "surrogates": "/address/%ed%a0%80",
            "bad-percent": "/address/%zz%1%",
            "question-marks": "/address/a???&&==#fragment",
            "query-not-utf8": "/sales?x=%ff&\xe9=\xe9",
            "semicolons": "/address/a;b=c;d",
            "encoded-slash": "/address/a%2Fb",
            "encoded-underscore": "/%5Fdash-layout",
            "upper-case": "/_DASH-LAYOUT",
            "backslashes": "/address/a\\..\\b",
            "trailing-dot": "/address/.",
            "long": "/" + "a" * 4000,
            "very-long": "/" + "a" * 70_000,
            "long-query": "/?" + "q=1&" * 900,
            "many-segments": "/a" * 1500,
            "component-suite": "/_dash-component-suites/dash/nothing.js",
            "dependencies": "/_dash-dependencies",
            "script-of-another-version": "/_dut/pages.js",
        }.items()
    },
    # headers
    "header-fold": message("/", "X-Folded: a\r\n b"),
    "header-space-before-colon": message("/", "X-Space : a"),
    "header-no-colon": message("/", "nonsense"),
    "header-empty-name": message("/", ": a"),
    "header-underscore": message("/", "X_Dash_Page: {}", "User_Agent: b"),
    "header-nul": message("/", "User-Agent: a\x00b"),
    "header-non-latin": message("/", "User-Agent: \xe9\xff", "Referer: http://localhost/\xe9"),
    "header-duplicates": message("/cookies", *["User-Agent: a", "Cookie: a=1", "Cookie: b=2", "X-Dash-Page: {}"] * 2),
    "header-many": message("/", *[f"X-{number}: {number}" for number in range(90)]),
    "header-too-many": message("/", *[f"X-{number}: {number}" for number in range(2000)]),
    "header-long": message("/", "User-Agent: Mozilla/5.0 " + "x" * 7000),
    "header-too-long": message("/", "User-Agent: " + "x" * 80_000),
    "header-referers": message("/", "Referer: http://[::1", "Referer: //", "Origin: null"),
    "header-forwarded": message("/", "X-Forwarded-For: 1,2,\xff", "X-Forwarded-Prefix: /a/../b", "Forwarded: for=x"),
    "header-host-odd": message("/", "Host: a b<>\xff").replace(b"Host: localhost\r\n", b""),
    "header-range": message("/file", "Range: bytes=10-19"),
    "header-ranges": message("/file", "Range: bytes=0-1,5-6,-3"),
    "header-range-bad": message("/file", "Range: bytes=9999-"),
    "header-range-on-a-page": message("/", "Range: bytes=0-1"),
    "header-not-modified": message("/file", 'If-None-Match: "fixed"'),
    "header-not-modified-since": message("/file", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
    "header-upgrade": message("/", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="),
    "header-upgrade-h2c": [
        message("/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ", "Connection: Upgrade"),
        HALF_CLOSE,
    ],
    "header-prefetch": message("/", "Sec-Purpose: prefetch;prerender", "Purpose: \xff", "Sec-Fetch-Dest: \xff"),
    # cookies
    "cookie-garbage": message("/cookies", "Cookie: ;;==,,\x7f\xff=\xff; session=abc; a"),
    "cookie-session-forged": message("/cookies", "Cookie: session=eyJ1c2VyIjp7ImlkIjoxfX0.aaaa.bbbb"),
    "cookie-long": message("/cookies", "Cookie: session=" + "x" * 7000),
    "cookie-many": message("/cookies", "Cookie: " + "; ".join(f"c{number}=1" for number in range(400))),
    "cookie-on-a-page": message("/", "Cookie: session=.eJx\xff"),
    # the page script's header
    **{
        f"mark-{name}": marked(value)
        for name, value in {
            "sound": json.dumps(MARK),
            "empty": "",
            "broken": '{"i": ',
            "not-an-object": "[1, 2]",
            "number": "17",
            "null-members": '{"i": null, "p": null, "a": null, "v": null}',
            "wrong-types": '{"i": [], "p": {}, "a": "x", "v": "x"}',
            "odd-views": json.dumps({**MARK, "v": [[1, "l", "/", "x", 5], 3, [], None]}),
            "huge-numbers": '{"i":"0123456789abcdef","p":"/","a":1e999,"v":[[9e99,"l","/",-1e999,""]]}',
            "nan": '{"i":"0123456789abcdef","p":"/","a":NaN,"v":[[NaN,"l","/",NaN,NaN]]}',
            "surrogates": r'{"i":"0123456789abcdef","p":"/\ud800","a":1,"v":[[1,"l","/\udfff",0,"\ud800"]]}',
            "deep": "[" * 3500,
            "long": json.dumps({**MARK, "p": "/" + "x" * 7000}),
            "too-long": json.dumps({**MARK, "p": "/" + "x" * 60_000}),
            "bytes": "\xff\xfe\x80",
        }.items()
    },
    "mark-on-a-page": message("/", f"X-Dash-Page: {json.dumps(MARK)}"),
    "mark-on-the-layout": message("/_dash-layout", "X-Dash-Page: {", "Referer: http://localhost/\xff"),
    # bodies of callbacks
    **{
        f"json-{name}": post(body)
        for name, body in {
            "none": b"",
            "broken": b'{"output": ',
            "not-utf8": b'{"output": "\xff\xfe"}',
            "utf16": json.dumps(click()).encode("utf-16"),
            "bom": b"\xef\xbb\xbf" + json.dumps(click()).encode(),
            "nul": b"\x00" * 20,
            "list": [click()],
            "text": '"text"',
            "null": b"null",
            "empty-object": {},
            "nan": b'{"output": "out.children", "inputs": [{"id": "btn", "property": "n_clicks", "value": NaN}]}',
            "deep": b'{"output":' * 5000,
            "deep-list": b"[" * 100_000,
            "deep-value": b'{"output":"out.children","changedPropIds":' + b"[" * 900 + b"]" * 900 + b"}",
            "big-number": b'{"output": ' + b"9" * 5000 + b"}",
            "duplicate-keys": b'{"output": "a.b", "output": "out.children", "inputs": [], "inputs": 5}',
            "surrogates": rb'{"output": "\ud800.\udfff", "inputs": [], "changedPropIds": ["\ud800"]}',
            "wrong-types": {"output": ["x"], "inputs": "x", "changedPropIds": {"a": 1}, "state": 5},
            "inputs-null": click(inputs=None, changedPropIds=None),
            "inputs-odd": click(inputs=[None, [], [[{}]], {"id": {"a": [1]}, "property": 5, "value": {}}]),
            "unknown-output": click(output="nobody.children"),
            "odd-output": click(output="..a.b...c.d.."),
            "many-changed": click(changedPropIds=[f"a{n}.b" for n in range(3000)]),
            "pathname-bytes": click(inputs=[{"id": "url", "property": "pathname", "value": "/\x00\ud800"}]),
            "text-value": click("x" * 3000),
            "at-64-kb": click("x" * (65_536 - 600)),
            "above-64-kb": click("x" * 70_000),
            "5-mb": click("x" * MEGABYTES),
        }.items()
    },
    "body-text": message(CALLBACK, "Content-Type: text/plain", method="POST", body=b"x"),
    "body-form": message(CALLBACK, "Content-Type: multipart/form-data; boundary=x", method="POST", body=b"--x\r\n"),
    "body-charset": message(CALLBACK, "Content-Type: application/json; charset=utf-7", method="POST", body=b"+AHs-"),
    "body-gzip": post(gzip.compress(json.dumps(click()).encode(), mtime=0), "Content-Encoding: gzip"),
    "body-gzip-bomb": post(gzip.compress(bytes(MEGABYTES), mtime=0), "Content-Encoding: gzip"),
    "body-deflate": post(zlib.compress(json.dumps(click()).encode()), "Content-Encoding: deflate"),
    "body-5-mb-elsewhere": post(b"x" * MEGABYTES, path="/echo"),
    "body-half-read": post(b"x" * 5000, path="/half"),
    "body-unread": post(b"x" * 5000, path="/unread"),
    "body-unread-kept-connection": post(b"x" * 500, path="/unread", close=False) + message("/echo"),
    "poll": post(click(), path=CALLBACK + "?cacheKey=%ff&job=\xff&job=1&cancelJob=" + "9" * 3000),
    # lengths
    **{
        f"length-{name}": [post(b'{"output": 1}', f"Content-Length: {length}", path=path), HALF_CLOSE]
        for path in (CALLBACK, "/echo")
        for name, length in {
            f"too-short{path[:2]}": 5,
            f"too-long{path[:2]}": 500,
            f"negative{path[:2]}": -1,
            f"signed{path[:2]}": "+13",
            f"text{path[:2]}": "many",
            f"hexadecimal{path[:2]}": "0xd",
            f"huge{path[:2]}": 10**30,
            f"fraction{path[:2]}": "13.0",
            f"empty{path[:2]}": "",
            f"list{path[:2]}": "13, 13",
            f"padded{path[:2]}": "0000013",
            f"other-digits{path[:2]}": "\xb9\xb3",
        }.items()
    },
    "length-twice": [post(b'{"output": 1}', "Content-Length: 13", "Content-Length: 13"), HALF_CLOSE],
    "length-two-of-them": [post(b'{"output": 1}', "Content-Length: 13", "Content-Length: 5"), HALF_CLOSE],
    "length-and-chunks": [
        post(b"5\r\nhello\r\n0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked", path="/echo"),
        HALF_CLOSE,
    ],
    "length-missing": [message(CALLBACK, method="POST"), HALF_CLOSE],
    # chunks
    "chunks": chunked(b"hello", b"world"),
    "chunks-callback": chunked(*[bytes([byte]) for byte in json.dumps(click()).encode()], path=CALLBACK),
    "chunks-trailers": chunked(b"hello", end=b"0\r\nX-Trailer: 1\r\n\r\n"),
    "chunks-extension": chunked(end=b"5;a=b;c\r\nhello\r\n0\r\n\r\n"),
    "chunks-bad-size": [chunked(end=b"xyz\r\nhello\r\n0\r\n\r\n"), HALF_CLOSE],
    "chunks-negative-size": [chunked(end=b"-5\r\nhello\r\n0\r\n\r\n"), HALF_CLOSE],
    "chunks-size-lies": [chunked(end=b"3\r\nhello\r\n0\r\n\r\n"), HALF_CLOSE],
    "chunks-huge-size": [chunked(end=b"fffff\r\nhello"), HALF_CLOSE],
    "chunks-no-end": [chunked(b"hello", end=b""), HALF_CLOSE],
    "chunks-bad-callback": [chunked(end=b"zz\r\n", path=CALLBACK), HALF_CLOSE],
    "chunks-odd-coding": [
        message("/echo", "Transfer-Encoding: gzip, chunked", method="POST", body=b"0\r\n\r\n"),
        HALF_CLOSE,
    ],
    "chunks-http-1.0": [
        message("/echo", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n", version="HTTP/1.0"),
        HALF_CLOSE,
    ],
    # the manners of a connection
    "pipeline": message("/", close=False) + post(click(), close=False) + message("/echo", close=False) + message("/a"),
    "pipeline-with-a-bad-one": message("/", close=False) + b"nonsense\r\n\r\n" + message("/a"),
    "pipeline-after-head": message("/", method="HEAD", close=False) + message("/empty", close=False) + message("/echo"),
    "expect": [post(click(), "Expect: 100-continue")],
    "expect-and-wait": [
        post(b"", "Expect: 100-continue", f"Content-Length: {len(json.dumps(click()))}"),
        PAUSE,
        json.dumps(click()).encode(),
    ],
    "expect-odd": post(click(), "Expect: a miracle"),
    "slow-line": [b"GE", PAUSE, b"T /sal", PAUSE, b"es HTTP/1.1\r\nHost: x\r\n", PAUSE, b"Connection: close\r\n\r\n"],
    "slow-body": [post(click())[:-40], PAUSE, post(click())[-40:-1], PAUSE, post(click())[-1:]],
    "streaming": message("/stream?size=50"),
    "streaming-http-1.0": message("/stream?size=50", version="HTTP/1.0"),
    "streaming-breaks": message("/breaks"),
    "streaming-head": message("/stream", method="HEAD"),
    "raises": message("/raises"),
    "no-content": message("/empty"),
    "body-cut-off": [post(click())[:-20], HANG_UP],
    "body-5-mb-cut-off": [post(b"x" * MEGABYTES)[: MEGABYTES // 2], HANG_UP],
    "hang-up-at-once": [message("/stream?size=2000"), HANG_UP],
    "hang-up-in-the-answer": [message("/stream?size=2000"), Read(1000), HANG_UP],
    "hang-up-in-a-callback": [post(click("x" * 100_000)), HANG_UP],
    "hang-up-before-anything": [HANG_UP],
}


# -- servers and what they answer ----------------------------------------------------------


@attrs.frozen
class Served:
    program: Program
    ports: dict[str, int]

    def answer(self, kind, steps):
        return comparable(converse(self.ports[kind], steps))


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="module")
def all_served(tmp_path_factory):
    """Every server, started at once: each has a Dash to import."""
    folder = tmp_path_factory.mktemp("hostile")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    served = {}
    for name, arguments in SERVERS.items():
        ports = free_ports(len(KINDS))
        if "gunicorn" in arguments:
            binds = [item for port in ports for item in ("--bind", f"127.0.0.1:{port}")]
            arguments = [*arguments, *binds, "hostile_server:by_port"]
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=HERE,
                env={**kept, "PYTHONPATH": f"{HERE.parent}", "PORTS": ",".join(map(str, ports))},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        served[name] = Served(Program(process, log), dict(zip(KINDS, ports)))
    yield served
    for one in served.values():
        one.program.process.send_signal(signal.SIGINT)
    for one in served.values():
        one.program.stop(signal.SIGTERM)


@pytest.fixture(params=SERVERS, scope="module")
def served(request, all_served):
    one = all_served[request.param]
    one.program.wait_for("Booting worker|^serving")
    for port in one.ports.values():
        converse(port, message("/own-stats"), patience=60)
    return one


def connected(port, patience):
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=patience)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def converse(port, steps, patience=5):
    """All that a server says until it closes the connection, or is silent for *patience* seconds."""
    said = b""
    with connected(port, patience) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for step in [steps] if isinstance(steps, bytes) else steps:
                if step == PAUSE:
                    time.sleep(0.02)
                elif step == HALF_CLOSE:
                    client.shutdown(socket.SHUT_WR)
                elif step == HANG_UP:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return said
                elif isinstance(step, Read):
                    while len(said) < step.size:
                        said += client.recv(step.size - len(said))
                else:
                    client.sendall(step)
            while True:
                if hasattr(socket, "TCP_QUICKACK"):  # a server that writes twice waits 40 ms for it
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                got = client.recv(65_536)
                if not got:
                    return said
                said += got
        except ConnectionError:  # the server has had enough: how much of its answer arrives is left to chance
            return said.partition(b"\r\n")[0]
        except socket.timeout:
            return said + b"\n-- and then nothing --"


def comparable(said):
    """Without what differs from answer to answer: the time, and the id that Dash 4.4 signs for each index."""
    said = re.sub(rb"\r\nDate: [^\r]*", b"", said, flags=re.IGNORECASE)
    return re.sub(rb'"end_id":"[^"]*"', b"", said)


TAG = re.compile(rb'<script src="/_dut/page\.js\?v=[0-9a-f]+"></script>')
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_the_same_with_and_without(served, case):
    bare = served.answer("bare", CASES[case])
    assert served.answer("tracked", CASES[case]) == bare
    assert_one_tag_more(served.answer("scripted", CASES[case]), bare)


def assert_one_tag_more(scripted, bare):
    """The same answers, but for a tag in each index and its share of the lengths."""
    tags = TAG.findall(scripted)
    assert LENGTH.sub(b"", TAG.sub(b"", scripted)) == LENGTH.sub(b"", bare)
    length = len(TAG_TEXT)
    assert all(len(tag) == length for tag in tags)
    added = [int(after) - int(before) for after, before in zip(LENGTH.findall(scripted), LENGTH.findall(bare))]
    assert set(added) <= {0, length}
    # As many as there are indexes: HEAD has the length alone, HTTP/0.9 the body alone.
    assert added.count(length) >= len(tags) or not added


TAG_TEXT = b'<script src="/_dut/page.js?v=0123456789ab"></script>'


def test_nothing_of_ours_failed_meanwhile(served):
    """Last: what the corpus above left behind."""
    for kind in ("tracked", "scripted"):
        stats = stats_of(served.ports[kind])
        deadline = time.monotonic() + 30
        while stats["pending"]:  # a server may still be busy with a client that hung up
            assert time.monotonic() < deadline
            stats = stats_of(served.ports[kind])
        assert (stats["problems"], stats["dropped"]) == ({}, {})
        assert stats["accepted"] == stats["delivered"] > 0
    assert "dash_user_tracker" not in re.sub(r'File "[^"]*"', "", served.program.output())


def stats_of(port):
    deadline = time.monotonic() + 60
    while True:  # a server that is busy with clients that hung up may let go of this one, too
        body = converse(port, message("/own-stats"), patience=60).partition(b"\r\n\r\n")[2]
        if body or time.monotonic() > deadline:
            break
    stats = json.loads(body)
    assert stats["flushed"] is True
    return stats
