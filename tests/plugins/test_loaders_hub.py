"""The hub loader: one commit, Parquet alone. The hub is a small one on loopback, asked by the real client."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from langmill.api import MissingInput, SourceContext
from langmill_plugins.loaders.huggingface import HuggingFace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
READ = f"""
from pathlib import Path
from langmill.api import MissingInput, Row, SourceContext
from langmill_plugins.loaders.huggingface import HuggingFace
loader = HuggingFace(path='owner/name', revision='{COMMIT}', license='x', body='text', language='en')
try:
    for item in loader.load(SourceContext('sources.hub', 17, {{}}, Path('.'), source='hub')):
        print(f'row {{item.id}}: {{item.body.text}}' if isinstance(item, Row) else f'reject {{item.record}}: {{item.reason}}')
except MissingInput as error:
    print('told:', error)
"""


@pytest.mark.parametrize(
    "wrong", [{"revision": "main"}, {"path": "../x"}, {"data_files": "load.py"}, {"data_files": "../a.parquet"}]
)
def test_the_hub_is_read_at_one_commit_and_as_parquet_alone(wrong: dict[str, str]) -> None:
    options = {"path": "owner/name", "revision": COMMIT, "license": "x", "body": "text"} | wrong
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        HuggingFace.model_validate(options)


def test_the_hub_offline_is_a_clear_error() -> None:
    loader = HuggingFace(path="owner/name", revision=COMMIT, license="x", body="text")
    context = SourceContext("sources.hub", 17, {}, Path(), offline=True, source="hub")
    with pytest.raises(MissingInput, match=r"this run is offline: .*use: parquet"):
        list(loader.load(context))


def read_from(endpoint: str, home: Path) -> str:
    """What a process prints that reads owner/name from a hub; the client reads its address when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    # Whoever has trained in this process has switched the hub off for it.
    rest = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=rest | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_that_does_not_answer_is_a_clear_error(tmp_path: Path) -> None:
    assert "told: sources.hub: 'owner/name@0123456789ab' could not be read" in read_from("http://127.0.0.1:9", tmp_path)


class Hub(BaseHTTPRequestHandler):
    """One data set with one Parquet file and one script, which nobody may ask for."""

    asked: ClassVar[list[str]] = []
    parquet: ClassVar[bytes] = b""

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "/resolve/" in self.path:
            start, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            part = self.parquet[int(start) : int(end) + 1 if end else None]
            self.answer(part, 206, f"bytes {start}-{int(start) + len(part) - 1}/{len(self.parquet)}")
        elif f"/tree/{COMMIT}" in self.path:
            sizes = {"data/a.parquet": len(self.parquet), "name.py": 10}
            found = [{"type": "file", "oid": "0" * 40, "size": size, "path": path} for path, size in sizes.items()]
            self.answer(json.dumps(found).encode())
        elif self.path.startswith("/api/datasets/owner/name"):
            self.answer(json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": []}).encode())
        else:
            self.answer(b"", 404)

    def answer(self, data: bytes, status: int = 200, part: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[str]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["one", "two"], "text": ["Some text.", ""]}), sink)
    Hub.parquet, Hub.asked[:] = sink.getvalue(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_data_set_is_read_at_its_commit_and_its_script_is_not(hub: str, tmp_path: Path) -> None:
    assert read_from(hub, tmp_path).splitlines() == ["row hub/one: Some text.", "reject two: no_text"]
    assert [path for path in Hub.asked if "/resolve/" in path] != []
    assert all(COMMIT in path for path in Hub.asked if "/resolve/" in path or "/tree/" in path)
    assert not any(".py" in path for path in Hub.asked)
