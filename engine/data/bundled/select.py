#!/usr/bin/env python3
"""Makes speeches.jsonl.gz: the speeches of 24 roles out of all of Shakespeare's plays.

usage: select.py ALL_SPEECHES.jsonl.gz OUT.jsonl.gz

In: JSON lines with `play`, `role`, `i` (position in the play) and `text`. Out: the same lines with `play`, `role` and
`text`, in the order of ROLES and then of the play. Each role keeps its speeches up to CAP characters, spread evenly over
the play. The same input gives the same bytes.
"""

import gzip
import json
import sys

CAP = 20_000  # characters a role

ROLES = [
    ("hamlet", "HAMLET"),
    ("henryv", "KING HENRY V"),
    ("othello", "IAGO"),
    ("measure", "DUKE VINCENTIO"),
    ("timon", "TIMON"),
    ("1henryiv", "FALSTAFF"),
    ("richardii", "KING RICHARD II"),
    ("cleopatra", "CLEOPATRA"),
    ("titus", "TITUS ANDRONICUS"),
    ("lear", "KING LEAR"),
    ("richardiii", "GLOUCESTER"),
    ("julius_caesar", "BRUTUS"),
    ("macbeth", "MACBETH"),
    ("asyoulikeit", "ROSALIND"),
    ("coriolanus", "CORIOLANUS"),
    ("tempest", "PROSPERO"),
    ("winters_tale", "LEONTES"),
    ("romeo_juliet", "JULIET"),
    ("lll", "BIRON"),
    ("taming_shrew", "PETRUCHIO"),
    ("merchant", "PORTIA"),
    ("cymbeline", "IMOGEN"),
    ("much_ado", "BENEDICK"),
    ("twelfth_night", "VIOLA"),
]


def spread(speeches):
    """The speeches up to CAP characters, spread evenly: an accumulator decides speech by speech."""
    share = min(1.0, CAP / sum(len(text) for text in speeches))
    kept, seen = 0, 0
    for text in speeches:
        seen += len(text)
        if kept + len(text) <= share * seen + 200 and kept + len(text) <= CAP:
            kept += len(text)
            yield text


def main(source, target):
    speeches = {role: [] for role in ROLES}
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            key = (record["play"], record["role"])
            if key in speeches:
                speeches[key].append(record["text"])
    with open(target, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as out:
        for play, role in ROLES:
            texts = list(spread(speeches[play, role]))
            print(f"{play}/{role}: {len(texts)} speeches, {sum(map(len, texts))} characters", file=sys.stderr)
            for text in texts:
                line = json.dumps({"play": play, "role": role, "text": text}, ensure_ascii=False)
                out.write(line.encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
