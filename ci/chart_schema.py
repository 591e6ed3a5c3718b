#!/usr/bin/env python3
"""Writes the chart's schema of `config` from the configuration's own.

    cargo run --quiet -- schema | ci/chart_schema.py

The chart sets listen, passive, admin and timeouts.shutdown_grace itself. Helm reads YAML 1.1, in
which the key `on` without quotes is `true`: the chart takes both. `cargo test` fails if the two
schemas differ otherwise.
"""

import json
import pathlib
import sys

PATH = pathlib.Path(__file__).parent.parent / "helm/s3ftpd/values.schema.json"

config = json.load(sys.stdin)
for key in ("$schema", "title"):
    del config[key]
for key in ("listen", "passive", "admin"):
    del config["properties"][key]
del config["properties"]["timeouts"]["properties"]["shutdown_grace"]
hook = config["properties"]["events"]["additionalProperties"]["properties"]
hook["true"] = {**hook["on"], "description": "`on` without quotes, as Helm reads it"}
config["required"] = ["stores", "mounts", "users"]
config["description"] = (
    "s3ftpd's own configuration. The chart sets listen, passive, admin and timeouts.shutdown_grace."
)
chart = json.loads(PATH.read_text())
chart["properties"]["config"] = config
chart.pop("$defs", None)
PATH.write_text(json.dumps(chart, indent=2, ensure_ascii=False) + "\n")
