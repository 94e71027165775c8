#!/usr/bin/python3
"""predict.py - score a CSV file with a model that `sovrun model get` fetched. Needs Python 3 and numpy, and nothing of Sovrun's.

    predict.py MODEL.safetensors FILE.csv             a line for each record: the probability of the positive class
    predict.py MODEL.safetensors FILE.csv --json      how good it is, where the target column is there: auc, accuracy, loss

The safetensors file is read by hand: eight bytes of header length, a JSON header, then the numbers. Its metadata says how a
record becomes a row (`encoding`, see trainer/encode.h), so that the file is enough. Columns are found by their names.

--tail-of-shards N --holdout S scores what a training job holds out of the same file when it is cut into N shards: the last
records of each, a share S of it, rounded half up. So a test can compare with what the trainer said.
"""
import argparse
import csv
import json
import math
import re
import struct
import sys

import numpy

NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
SMALLEST = float(numpy.finfo(numpy.float32).tiny)
HEADER_BYTES_MAX = 100 << 20
FORMAT = "sovrun.mlp.v1"


def fail(text):
    sys.exit(f"predict.py: {text}")


def read_model(path):
    """Tensors by name, and the metadata."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8:
        fail(f"{path}: too short for a safetensors file")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(HEADER_BYTES_MAX, len(data) - 8):
        fail(f"{path}: its header is longer than the file")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length :]
    tensors = {}
    for name, about in header.items():
        first, last = about["data_offsets"]
        if about["dtype"] != "F32" or not 0 <= first <= last <= len(body):
            fail(f"{path}: tensor '{name}' is not of a kind that this reads")
        tensors[name] = numpy.frombuffer(body[first:last], dtype="<f4").reshape(about["shape"])
    if metadata.get("format") != FORMAT:
        fail(f"{path}: its format is '{metadata.get('format')}', not {FORMAT}")
    return tensors, metadata


def read_records(path):
    """Header and records."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file, strict=True))
    if not rows:
        fail(f"{path}: it is empty")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(rows[0]):
            fail(f"{path}: record {number} has {len(row)} fields where the header has {len(rows[0])}")
    return rows[0], rows[1:]


def tails(count, shards, share):
    """Which records are held out: the tail of each of `shards` parts; the first parts have one more where it is uneven."""
    picked, first = [], 0
    shards = min(shards, count)
    for shard in range(shards):
        size = count // shards + (shard < count % shards)
        held = min(size, math.floor(size * share + 0.5))
        picked.extend(range(first + size - held, first + size))
        first += size
    return picked


def encode(encoding, header, records, path):
    """The rows of numbers that the model takes, as the trainer makes them."""
    missing = set(encoding["missing"])
    parts = []
    for column in encoding["columns"]:
        name = column["name"]
        if name not in header:
            fail(f"{path}: it has no column '{name}', which the model needs")
        at = header.index(name)
        texts = [record[at] for record in records]
        absent = numpy.array([text in missing for text in texts], dtype=bool)
        if column["kind"] == "numeric":
            mean, scale = float(column["mean"]), float(column["scale"])
            for number, text in enumerate(texts, 1):
                if text not in missing and not NUMBER.match(text):
                    fail(f"{path}: record {number}, column '{name}': '{text}' is no number")
            values = numpy.array([mean if text in missing else float(text) for text in texts], dtype=numpy.float64)
            parts.append(((values - mean) / scale).astype(numpy.float32)[:, None])
            if column["missing"]:
                parts.append(absent.astype(numpy.float32)[:, None])
            continue
        place = {value: i for i, value in enumerate(column["values"])}
        block = numpy.zeros((len(records), len(place) + bool(column["missing"])), dtype=numpy.float32)
        for i, text in enumerate(texts):
            if not absent[i] and text in place:
                block[i, place[text]] = 1
            elif column["missing"]:
                block[i, len(place)] = 1
        parts.append(block)
    return numpy.concatenate(parts, axis=1)


def predict(tensors, rows):
    """Class probabilities: fully connected layers, ReLU between them, softmax last."""
    layers = sum(name.endswith(".weight") for name in tensors)
    values = rows
    for layer in range(layers):
        values = values @ tensors[f"layers.{layer}.weight"].T + tensors[f"layers.{layer}.bias"]
        if layer + 1 < layers:
            values = numpy.maximum(values, 0)
    values = numpy.exp(values.astype(numpy.float64) - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def auc(scores, positive):
    """Mann-Whitney by ranks, ties at their middle rank; None where one side is empty."""
    order = numpy.argsort(scores, kind="stable")
    ranks = numpy.empty(len(scores))
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and scores[order[last + 1]] == scores[order[first]]:
            last += 1
        ranks[order[first : last + 1]] = (first + last) / 2 + 1
        first = last + 1
    ones = int(positive.sum())
    others = len(positive) - ones
    if ones == 0 or others == 0:
        return None
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * others))


def judge(encoding, header, records, probabilities, positive, path):
    """auc, accuracy, loss, against the target column; what is not known is null."""
    result = {"records": len(records), "positive": encoding["classes"][positive], "auc": None, "accuracy": None, "loss": None}
    if encoding["target"] not in header or not records:
        return result
    at = header.index(encoding["target"])
    place = {name: i for i, name in enumerate(encoding["classes"])}
    for number, record in enumerate(records, 1):
        if record[at] not in place:
            fail(f"{path}: record {number}: '{record[at]}' is a class that the model does not know")
    labels = numpy.array([place[record[at]] for record in records])
    likely = numpy.maximum(probabilities[numpy.arange(len(labels)), labels], SMALLEST)
    result["auc"] = auc(probabilities[:, positive].astype(numpy.float32), labels == positive)
    result["accuracy"] = float((probabilities.argmax(axis=1) == labels).mean())
    result["loss"] = float(-numpy.log(likely).mean())
    return result


def parse_arguments():
    parser = argparse.ArgumentParser(description="Score a CSV file with a model that `sovrun model get` fetched.")
    parser.add_argument("model", help="MODEL.safetensors")
    parser.add_argument("file", help="FILE.csv, with a header line")
    parser.add_argument("--json", action="store_true", help="how good it is, as one JSON document")
    parser.add_argument("--tail-of-shards", type=int, metavar="N", help="score only the tails of N equal parts of the file")
    parser.add_argument("--holdout", type=float, default=0.2, metavar="SHARE", help="how much of each part is its tail [0.2]")
    arguments = parser.parse_args()
    if arguments.tail_of_shards is not None and arguments.tail_of_shards < 1:
        parser.error("--tail-of-shards must be at least 1")
    if not 0 <= arguments.holdout <= 1:
        parser.error("--holdout must be from 0 to 1")
    return arguments


def main():
    arguments = parse_arguments()
    try:
        tensors, metadata = read_model(arguments.model)
        encoding = json.loads(metadata["encoding"])
        header, records = read_records(arguments.file)
    except (OSError, ValueError, KeyError, csv.Error) as error:
        fail(error)
    numbers = range(len(records))
    if arguments.tail_of_shards:
        numbers = tails(len(records), arguments.tail_of_shards, arguments.holdout)
        records = [records[i] for i in numbers]
    classes = encoding["classes"]
    positive = classes.index(encoding["positive"]) if encoding["positive"] else len(classes) - 1
    probabilities = predict(tensors, encode(encoding, header, records, arguments.file)) if records else numpy.zeros((0, len(classes)))
    if arguments.json:
        print(json.dumps(judge(encoding, header, records, probabilities, positive, arguments.file)))
        return
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["record", f"probability of {classes[positive]}", "most probable"])
    for number, row in zip(numbers, probabilities):
        out.writerow([number + 1, f"{row[positive]:.9g}", classes[int(row.argmax())]])


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
