"""Data files as pandas, pyarrow, datasets and PIL write them, and what they read from them.

Writes tests/fixtures/data/: the files, and expected.json with the texts, labels and classes of each as those libraries read
it, with what is refused, and with the pixels of pictures (PIL's convert("RGB"), turned as datasets does).
Run: python tests/golden/data.py    (pandas 3, pyarrow, datasets 5, pillow 13)
"""

import datetime
import decimal
import io
import json
import os
import pathlib
import shutil

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "data"
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)
records, errors, pictures = [], [], []


def put(name, content):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def text(value):
    """A value as the text of a record; as Python writes it, but true and false as JSON does."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return str(value)


def label(value):
    if isinstance(value, (float, np.floating)) and value == int(value):
        value = int(value)
    return text(value)


def expect(file, frame, column="text", labels=None, classes=None, by=None, **keys):
    """What `frame`, as read by a library, says of the records of `file`."""
    keys = {"text": column, **keys}
    rows = [row for row in frame.to_dict("records") if row[column] is not None and row[column] == row[column]]
    case = {"file": file, "data": keys, "texts": [text(row[column]) for row in rows]}
    if labels:
        keys["label"] = labels
        case["labels"] = [label(row[labels]) for row in rows]
    if classes:
        case["classes"] = classes
    if by:
        case["by"], case["ids"] = by, [label(row[by]) for row in rows]
    if len(rows) < len(frame):
        keys["invalid"] = "skip"
        case["left_out"] = len(frame) - len(rows)
    records.append(case)


def refuse(file, says, **keys):
    errors.append({"file": file, "data": keys, "says": says})


# JSON as pandas and json write it.
frame = pd.DataFrame({"text": ["Once é", "a \"b\"\n\tc/d", "\u2028 \u0085 😀", "null", ""],
                      "n": [1.0, float("nan"), 2.5, 3.0, 4.0], "client": [1, 2, 1, 2, 1]})
put("records.json", frame.to_json(orient="records"))
put("lines.jsonl", frame.to_json(orient="records", lines=True))
put("raw.ndjson", frame.to_json(orient="records", lines=True, force_ascii=False))
put("pretty.json", json.dumps(frame.astype(object).to_dict("records"), indent=2))
put("nan.jsonl", "\n".join(json.dumps(row) for row in frame.to_dict("records")))
put("marked.jsonl", "\ufeff" + frame.to_json(orient="records", lines=True).replace("\n", "\r\n"))
put("wide.jsonl", frame.to_json(orient="records", lines=True, force_ascii=False).encode("utf-16"))
for name in ["records.json", "lines.jsonl", "raw.ndjson", "marked.jsonl"]:
    lines = name != "records.json"
    read = pd.read_json(io.BytesIO((OUT / name).read_bytes().removeprefix(b"\xef\xbb\xbf")), lines=lines, dtype={"text": str})
    expect(name, read, by="client", min_chars=0)
for name in ["pretty.json", "nan.jsonl", "wide.jsonl"]:
    expect(name, frame, by="client", min_chars=0)
for name, says in [("columns", "is an object"), ("index", "has no field `text`"), ("split", "has no field `text`"),
                   ("table", "if the 5 objects in `data` are the records, make a file of that list alone")]:
    put(f"{name}.json", frame.to_json(orient=name))
    refuse(f"{name}.json", says)

# Tables.
frame = pd.DataFrame({"text": ["plain", "a, b", "two\nlines", "a \"quote\"", " blanks ", "NA", None, "007"],
                      "label": [1.0, 0.0, 1.0, float("nan"), 0.0, 1.0, 0.0, 1.0], "yes": [True, False] * 4})
put("plain.csv", frame.to_csv(index=False))
put("index.csv", frame.to_csv())
put("quoted.csv", frame.to_csv(index=False, quoting=1, lineterminator="\r\n"))
put("tabs.tsv", frame.to_csv(index=False, sep="\t"))
put("marked.csv", frame.to_csv(index=False).encode("utf-8-sig"))
for name in ["plain.csv", "index.csv", "quoted.csv", "tabs.tsv", "marked.csv"]:
    read = pd.read_csv(OUT / name, sep="\t" if name.endswith("tsv") else ",")
    expect(name, read)
    expect(name, read[read.label.notna() & read.text.notna()], labels="label", classes=["0", "1"], task="classification",
           invalid="skip")
    records[-1]["left_out"] = len(read) - len(records[-1]["texts"])
    expect(name, read, column="yes", by="yes")
    records[-1]["texts"] = [value.capitalize() for value in records[-1]["texts"]]
    records[-1]["ids"] = [value.capitalize() for value in records[-1]["ids"]]
put("names.csv", " text,text,,text\na,b,c,d\ne\n\n  \ni,j,k,l\n")
read = pd.read_csv(OUT / "names.csv")
for column in read.columns:
    expect("names.csv", read, column=column)
put("numbers.csv", "text,label\na,1\nb,1.0\nc,01\nd,2\n")
expect("numbers.csv", pd.read_csv(OUT / "numbers.csv"), labels="label", classes=["1", "2"], task="classification")
put("long.csv", "text,label\na,1\nb,2,3\n")
refuse("long.csv", "row 2: it has 3 values, there are 2 columns")
put("semicolons.csv", frame.to_csv(index=False, sep=";"))
refuse("semicolons.csv", "it seems to be split by ';'")
put("open.csv", "text,label\na,1\n\"b,2\nc,3\n")
refuse("open.csv", "a quote is opened and never closed", invalid="skip")

# Parquet: compressions, encodings, pages and types.
frame = pd.DataFrame({"text": ["once", "upon é", None, "a", "time"], "label": pd.array([1, 0, 1, None, 2], dtype="Int64"),
                      "owner": pd.Categorical(["x", "y", "x", "y", "x"])})
for codec in ["none", "snappy", "gzip", "zstd", "lz4"]:
    frame.to_parquet(OUT / f"{codec}.parquet", compression=None if codec == "none" else codec)
    expect(f"{codec}.parquet", pd.read_parquet(OUT / f"{codec}.parquet"), by="owner")
frame.to_parquet(OUT / "brotli.parquet", compression="brotli")
refuse("brotli.parquet", "brotli")
words = [f"word {number % 3} of {number}" for number in range(40)]
table = pa.table({
    "text": pa.array(words), "large": pa.array(words, pa.large_string()), "view": pa.array(words).cast(pa.string_view()),
    "int8": pa.array([number - 20 for number in range(40)], pa.int8()),
    "uint64": pa.array([2**63 + number for number in range(40)], pa.uint64()),
    "half": pa.array([np.float16(number / 4) for number in range(40)], pa.float16()),
    "single": pa.array([number / 8 for number in range(40)], pa.float32()),
    "double": pa.array([number / 10 for number in range(40)], pa.float64()),
    "truth": pa.array([number % 3 == 0 for number in range(40)]),
    "decimal": pa.array([decimal.Decimal(number) / 100 for number in range(-20, 20)], pa.decimal128(9, 2)),
    "date": pa.array([datetime.date(1969, 12, 20) + datetime.timedelta(number) for number in range(40)]),
    "dictionary": pa.array(words).dictionary_encode(),
    "when": pa.array([datetime.datetime(2020, 1, 1)] * 40), "time": pa.array([datetime.time(1)] * 40),
    "bytes": pa.array([b"x"] * 40), "fixed": pa.array([b"xy"] * 40, pa.binary(2)),
    "list": pa.array([["x"]] * 40), "nothing": pa.nulls(40),
})
pq.write_table(table, OUT / "types.parquet", row_group_size=16)
read = pd.DataFrame(table.to_pylist())
for column in table.column_names[:12]:
    expect("types.parquet", read, column=column)
for column, kind in [("when", "times"), ("time", "times of day"), ("bytes", "bytes"), ("fixed", "bytes")]:
    refuse("types.parquet", f"column `{column}` (data.text) has {kind}", text=column)
refuse("types.parquet", "is an array", text="list")
refuse("types.parquet", "is null", text="nothing")
pq.write_table(table.select(["text", "int8", "double"]), OUT / "encodings.parquet", use_dictionary=False,
               data_page_version="2.0", compression="zstd",
               column_encoding={"text": "DELTA_BYTE_ARRAY", "int8": "DELTA_BINARY_PACKED", "double": "BYTE_STREAM_SPLIT"})
for column in ["text", "int8", "double"]:
    expect("encodings.parquet", read, column=column)
pq.write_table(table.select(["text"]), OUT / "lengths.parquet", use_dictionary=False,
               column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY"})
expect("lengths.parquet", read)

# What datasets writes beside the columns.
names = ["sad", "glad", "mad"]
features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
written = datasets.Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": [1, 0, 1, -1]}, features=features)
written.to_parquet(OUT / "classes.parquet")
read = pd.DataFrame({"text": ["a", "b", "c"], "label": ["glad", "sad", "glad"]})
expect("classes.parquet", read, labels="label", classes=names, task="classification", invalid="skip")
records[-1]["left_out"] = 1
for part in ["train-00000-of-00001", "test-00000-of-00001"]:
    (OUT / "parts").mkdir(exist_ok=True)
    written.to_parquet(OUT / "parts" / f"{part}.parquet")
refuse("parts", "are parts of a data set; give one of them")

# Pictures.
random = np.random.default_rng(0)
smooth = np.array(Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((24, 18), Image.BICUBIC))
base = Image.fromarray(smooth)
alpha = Image.fromarray(np.dstack([smooth, random.integers(0, 256, (18, 24), dtype=np.uint8)]))


def picture(name, image, tolerance=0, **options):
    (OUT / "pictures").mkdir(exist_ok=True)
    path = OUT / "pictures" / name
    image.save(path, **options)
    read = datasets.Image().decode_example({"path": str(path), "bytes": None}).convert("RGB")
    put(f"pictures/{name}.rgb", read.tobytes())
    pictures.append({"file": f"pictures/{name}", "width": read.width, "height": read.height, "tolerance": tolerance})


picture("rgb.png", base)
picture("gray.png", base.convert("L"))
picture("bits.png", base.convert("1"))
picture("grayalpha.png", base.convert("LA"))
picture("alpha.png", alpha)
picture("palette.png", base.quantize(16))
picture("few.png", base.quantize(3), bits=2)
picture("clear.png", base.quantize(16), transparency=3)
picture("colourkey.png", base, transparency=tuple(int(value) for value in smooth[0, 0]))
exif = Image.Exif()
exif[0x0112] = 6
picture("turned.png", base, exif=exif)
picture("rgb.jpg", base, tolerance=8, quality=95)
picture("UPPER.JPG", base, tolerance=8, quality=75)
picture("full.jpg", base, tolerance=8, quality=95, subsampling=0)
picture("gray.jpg", base.convert("L"), tolerance=3, quality=90)
picture("progressive.jpg", base, tolerance=8, quality=90, progressive=True)
picture("cmyk.jpg", base.convert("CMYK"), tolerance=8, quality=95)
for orientation in range(2, 9):
    exif[0x0112] = orientation
    picture(f"turned{orientation}.jpg", base, tolerance=8, quality=95, exif=exif)
deep = Image.fromarray((np.arange(432).reshape(18, 24) * 150).astype(np.uint16))
deep.save(OUT / "pictures" / "deep.png")
base.save(OUT / "pictures" / "web.webp")

# Folders of pictures, and a column of them.
for name in ["folder/animals/dog/a.png", "folder/animals/cat/b.png", "folder/animals/cat/a.png", "table/x.png", "table/y.png"]:
    (OUT / name).parent.mkdir(parents=True, exist_ok=True)
    base.save(OUT / name)
put("folder/animals/dog/.DS_Store", b"\0")
read = datasets.load_dataset("imagefolder", data_dir=str(OUT / "folder"), split="train", cache_dir="/tmp/cellm-data-py")
rows = sorted((os.path.relpath(row["image"].filename, OUT / "folder"), read.features["label"].int2str(row["label"]))
              for row in read)
records.append({"file": "folder", "data": {"task": "classification"}, "labels": [row[1] for row in rows],
                "classes": read.features["label"].names})
put("table/metadata.csv", "file_name,label\ny.png,1\nx.png,0\n")
read = datasets.load_dataset("imagefolder", data_dir=str(OUT / "table"), split="train", cache_dir="/tmp/cellm-data-py")
records.append({"file": "table", "data": {"task": "classification"},
                "labels": [label(row["label"]) for row in read], "classes": ["0", "1"]})
features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
written = datasets.Dataset.from_dict({"image": [base, base.transpose(Image.ROTATE_90)], "label": [1, 0]}, features=features)
written.to_parquet(OUT / "pictures.parquet")
records.append({"file": "pictures.parquet", "data": {"task": "classification", "label": "label"}, "labels": ["dog", "cat"],
                "classes": ["cat", "dog"]})

put("expected.json", json.dumps({"records": records, "errors": errors, "pictures": pictures}, indent=1, ensure_ascii=False))
print(len(records), "reads,", len(errors), "refusals,", len(pictures), "pictures,",
      sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file()), "bytes")
