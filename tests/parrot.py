"""A plugin file with a trainer that takes no time: it leaves the number of its rows."""

from __future__ import annotations

TRAINER = '''
from langmill.api import Trainer, hookimpl, write_json


class Parrot(Trainer):
    """Leaves a word."""

    def train(self, job):
        folder = job.folder / "adapter"
        folder.mkdir()
        (folder / "word").write_text(str(len(list(job.rows("train")))))
        write_json(job.folder / "result.json", {"base": {"name": self.base, "identity": "x", "demonstration": False}})
        return folder

    def open(self, adapter, context):
        raise AssertionError

    def exports(self):
        return {"word": "The word"}

    def export(self, kind, trained, folder, context):
        (folder / "word.txt").write_text((trained / "word").read_text())
        return "Read it aloud."


@hookimpl
def register_trainers():
    return {"parrot": Parrot}
'''
