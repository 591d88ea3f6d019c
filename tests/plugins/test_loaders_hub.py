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
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from langmill.api import MissingInput, SourceContext
from langmill_plugins.loaders.huggingface import HuggingFace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
READ = f"""
import json, sys
from pathlib import Path
from langmill.api import MissingInput, RecipeError, Row, SourceContext
from langmill_plugins.loaders.huggingface import HuggingFace
loader = HuggingFace(path='owner/name', revision='{COMMIT}', license='x', body='text', language='en', **json.loads(sys.argv[1]))
try:
    for item in loader.load(SourceContext('sources.hub', 17, {{}}, Path('.'), source='hub')):
        row = isinstance(item, Row)
        print(f'row {{item.id}} {{item.split}}: {{item.body.text}}' if row else f'reject {{item.record}}: {{item.reason}}')
except (MissingInput, RecipeError) as error:
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
    with pytest.raises(MissingInput, match=r"this run is offline: .*use: table"):
        list(loader.load(context))


def read_from(endpoint: str, home: Path, **options: str) -> str:
    """What a process prints that reads owner/name from a hub; the client reads its address when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    # Whoever has trained in this process has switched the hub off for it.
    rest = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(options)],
        env=rest | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_hub_that_does_not_answer_is_a_clear_error(tmp_path: Path) -> None:
    assert "told: sources.hub: 'owner/name@0123456789ab' could not be read" in read_from("http://127.0.0.1:9", tmp_path)


class Hub(BaseHTTPRequestHandler):
    """One data set with Parquet files and a script, which nobody may ask for."""

    asked: ClassVar[list[str]] = []
    sent: ClassVar[int] = 0
    files: ClassVar[dict[str, bytes]] = {}

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "/resolve/" in self.path:
            start, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            data = self.files[unquote(self.path.partition(f"/{COMMIT}/")[2])]
            part = data[int(start) : int(end) + 1 if end else None]
            Hub.sent += len(part)
            self.answer(part, 206, f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}")
        elif f"/tree/{COMMIT}" in self.path:
            below = unquote(self.path.partition(f"/tree/{COMMIT}")[2].partition("?")[0]).strip("/")
            found = [
                {"type": "file", "oid": "0" * 40, "size": len(data), "path": path}
                for path, data in self.files.items()
                if path.startswith(below)
            ]
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


def parquet(columns: dict[str, list[object]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="none", use_dictionary=False)
    return sink.getvalue()


@pytest.fixture
def hub() -> Iterator[str]:
    first = parquet({"id": ["one", "two"], "text": ["Some text.", ""]})
    second = parquet({"text": ["More text."], "junk": [b"junk" * 100_000]})
    Hub.files = {
        "data/a.parquet": first,
        "doctor/test-0.parquet": second,
        "doctor/fewshot-0.parquet": second,
        "name.py": b"raise",
    }
    Hub.asked.clear()
    Hub.sent = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_data_set_is_read_at_its_commit_and_its_script_is_not(hub: str, tmp_path: Path) -> None:
    found = read_from(hub, tmp_path, data_files="data/*.parquet").splitlines()
    assert found == ["row hub/one train: Some text.", "reject two: no_text"]
    assert [path for path in Hub.asked if "/resolve/" in path] != []
    assert all(COMMIT in path for path in Hub.asked if "/resolve/" in path or "/tree/" in path)
    assert not any(".py" in path for path in Hub.asked)


def test_splits_come_from_the_names_of_files_and_other_columns_are_not_fetched(hub: str, tmp_path: Path) -> None:
    """Read as one stream, all files of a set used to be train."""
    assert read_from(hub, tmp_path, data_files="doctor/[td]*.parquet").splitlines() == [
        "row hub/doctor.test-0-1 test: More text."
    ]
    assert not any("fewshot" in path for path in Hub.asked if "/resolve/" in path)
    assert 0 < Hub.sent < len(Hub.files["doctor/test-0.parquet"]) / 2


def test_a_field_that_the_edition_does_not_have_is_told_with_those_it_has(hub: str, tmp_path: Path) -> None:
    told = read_from(hub, tmp_path, data_files="doctor/test-0.parquet", text="content")
    assert (
        "sources.hub: owner/name/doctor/test-0.parquet@0123456789ab: the only record lacks the field 'content'" in told
    )
    assert "Fields there: text, junk. Type text: text" in told


def test_a_pattern_that_no_file_fits_is_told_with_the_files(hub: str, tmp_path: Path) -> None:
    told = read_from(hub, tmp_path, data_files="data/[xyz].parquet")
    assert (
        "sources.hub.data_files: no file of 'owner/name@0123456789ab' is 'data/[xyz].parquet'; there: data/a.parquet"
        in told
    )
