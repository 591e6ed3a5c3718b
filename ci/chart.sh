#!/usr/bin/env bash
# Tests the Helm chart: lints it, renders it with each file of helm/s3ftpd/ci, and checks the result
# against Kubernetes' schemas. Each value must be in one of these files, wrong values must be refused,
# and s3ftpd must accept the rendered configuration.
#
#   chart.sh [BINARY]     without the binary the last check is left out
#
# It needs helm 4, openssl and, in PYTHON (default python3), the module kubernetes_validate.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
gobin=$(go env GOBIN)
PATH="${gobin:-$(go env GOPATH)/bin}:$PATH"
chart=helm/s3ftpd
python=${PYTHON:-python3}
binary=${1:-}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

main() {
  helm lint --strict --quiet "$chart" 2>"$out/lint" || { cat "$out/lint" >&2; exit 1; }
  local values name
  for values in "$chart"/ci/*.yaml; do
    name=$(basename "$values" -values.yaml)
    helm lint --strict --quiet "$chart" --values "$values"
    helm template ci "$chart" --namespace ftp --values "$values" >"$out/$name.yaml"
    valid "$out/$name.yaml" "$name"
    implicit "$out/$name.yaml" "$name" "$values"
    monitoring "$out/$name.yaml" "$name" "$values"
    taken "$out/$name.yaml" "$name"
  done
  complete
  plain_on
  refusals
}

valid() {
  local version
  # The kinds of the Prometheus Operator are not Kubernetes' own: monitoring() checks them.
  "$python" - "$1" >"$out/kubernetes.yaml" <<'END'
import sys
import yaml

documents = [d for d in yaml.safe_load_all(open(sys.argv[1])) if d]
yaml.safe_dump_all([d for d in documents if not d["apiVersion"].startswith("monitoring.")], sys.stdout)
END
  for version in 1.26 1.30 ""; do
    "$python" -m kubernetes_validate --strict --quiet ${version:+--kubernetes-version "$version"} "$out/kubernetes.yaml" || {
      echo "chart: $2 is not valid for Kubernetes ${version:-(newest)}" >&2
      exit 1
    }
  done
  echo "ok   chart: $2 is valid"
}

# Fails if a value of the schema is in no file.
complete() {
  "$python" - "$chart" <<'END'
import json, sys
from pathlib import Path
import yaml

chart = Path(sys.argv[1])
schema = json.loads((chart / "values.schema.json").read_text())
files = [yaml.safe_load(path.read_text()) for path in (chart / "ci").glob("*.yaml")]

def keys(node, path=()):
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    for name, child in node.get("properties", {}).items():
        yield path + (name,)
        yield from keys(child, path + (name,))
    for child in (node.get("items"), node.get("additionalProperties")):
        if isinstance(child, dict):
            yield from keys(child, path + ("*",))

def there(value, path):
    if not path:
        return True
    if path[0] == "*":
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        return any(there(one, path[1:]) for one in inner)
    return isinstance(value, dict) and path[0] in value and there(value[path[0]], path[1:])

# Helm's own, one that needs a recent cluster, temporary credentials, what plain_on() renders, and files
# that are mounted in a cluster only.
left_out = {
    ("global",), ("resources", "claims"), ("config", "stores", "*", "session_token"),
    ("config", "events", "*", "true"), ("config", "include"),
}
missing = [path for path in keys(schema) if path not in left_out and not any(there(file, path) for file in files)]
if missing:
    sys.exit("chart: in no file of ci: " + ", ".join(".".join(path) for path in missing))
END
  echo "ok   chart: each value is rendered"
}

# YAML 1.1, which Helm reads, takes the key on without quotes for true: the chart takes both.
plain_on() {
  local good="$chart/ci/cluster-ip-values.yaml" key
  for key in on '"on"'; do
    printf 'config: { events: { billing: { url: "https://x", %s: [upload] } } }\n' "$key" >"$out/on.yaml"
    helm template ci "$chart" --values "$good" --values "$out/on.yaml" >"$out/on-$key"
  done
  cmp "$out/on-on" "$out/on-\"on\""
  grep -qxF '        "on":' "$out/on-on"
  echo "ok   chart: on without quotes"
  printf 'config: { events: { billing: { url: "https://x", on: [uplaod] } } }\n' >"$out/wrong.yaml"
  refused "/config/events/billing/true/0': value must be one of 'upload'" --values "$good" --values "$out/wrong.yaml"
  refused "has the key on twice" --values "$good" --values "$out/on.yaml" --set 'config.events.billing.true={login}'
}

# The port for implicit TLS is in the Service, the pod and the configuration, or in none of them.
implicit() {
  "$python" - "$1" "$3" <<'END'
import sys
import yaml

documents = [d for d in yaml.safe_load_all(open(sys.argv[1])) if d]
kinds = {d["kind"]: d for d in documents if not d["metadata"]["name"].endswith(("-metrics", "-dashboard"))}
asked = yaml.safe_load(open(sys.argv[2])).get("service", {})
wanted = asked.get("implicitPort")
service = [p for p in kinds["Service"]["spec"]["ports"] if p["name"] == "ftps"]
pod = [p for p in kinds["Deployment"]["spec"]["template"]["spec"]["containers"][0]["ports"] if p["name"] == "ftps"]
config = yaml.safe_load(kinds["ConfigMap"]["data"]["s3ftpd.yaml"])
listeners = [l for l in config["listen"] if isinstance(l, dict) and l["tls"] == "implicit"]
if wanted is None:
    sys.exit(f"chart: a port that the values do not ask for: {service} {pod} {listeners}" if service or pod or listeners else 0)
expected = {"name": "ftps", "port": wanted, "targetPort": "ftps", "protocol": "TCP"}
if asked.get("implicitNodePort"):
    expected["nodePort"] = asked["implicitNodePort"]
assert service == [expected], service
assert [p["containerPort"] for p in pod] == [2990], pod
assert listeners and all(l["address"].endswith(":2990") for l in listeners), listeners
END
  echo "ok   chart: implicit TLS of $2"
}

# The resources of the Prometheus Operator and the dashboard are there if the values ask for them; the
# ServiceMonitor selects the Service of the admin port and nothing else, and that Service the pod.
monitoring() {
  "$python" - "$1" "$3" "$chart" <<'END'
import json, sys
from pathlib import Path
import yaml

documents = [d for d in yaml.safe_load_all(open(sys.argv[1])) if d]
asked = yaml.safe_load(open(sys.argv[2])).get("metrics", {})
chart = Path(sys.argv[3])

def one(kind, ending=""):
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"].endswith(ending)]
    assert len(found) <= 1, found
    return found[0] if found else None

def selects(selector, labels):
    return all(labels.get(name) == value for name, value in selector.items())

pod = one("Deployment")["spec"]["template"]
monitor, service = one("ServiceMonitor"), one("Service", "-metrics")
enabled = asked.get("serviceMonitor", {}).get("enabled", False)
assert bool(monitor) == bool(service) == enabled, (monitor, service)
if enabled:
    assert selects(service["spec"]["selector"], pod["metadata"]["labels"]), service
    selector = monitor["spec"]["selector"]["matchLabels"]
    selected = [d for d in documents if d["kind"] == "Service" and selects(selector, d["metadata"]["labels"])]
    assert selected == [service], selected
    (endpoint,), (port,) = monitor["spec"]["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"], endpoint
    ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
    assert port["port"] == ports[port["targetPort"]], port
    assert monitor["metadata"]["labels"].items() >= asked["serviceMonitor"]["labels"].items(), monitor
rule = one("PrometheusRule")
assert bool(rule) == asked.get("rules", {}).get("enabled", False), rule
if rule:
    assert rule["spec"] == yaml.safe_load((chart / "files/alerts.yaml").read_text()), rule
dashboard = one("ConfigMap", "-dashboard")
assert bool(dashboard) == asked.get("dashboard", {}).get("enabled", False), dashboard
if dashboard:
    assert json.loads(dashboard["data"]["s3ftpd.json"])["uid"] == "s3ftpd"
END
  echo "ok   chart: monitoring of $2"
}

# s3ftpd checks the rendered configuration. Its secrets become files, in a temporary directory.
taken() {
  if [ -z "$binary" ]; then
    echo "--   chart: the configuration of $2 is not checked: no binary"
    return
  fi
  local dir="$out/$2"
  mkdir -p "$dir"
  "$python" - "$1" "$dir" "$binary" <<'END'
import re, subprocess, sys
from pathlib import Path
import yaml

rendered, directory, binary = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
maps = [d["data"] for d in yaml.safe_load_all(open(rendered)) if d and d["kind"] == "ConfigMap"]
config = next(data["s3ftpd.yaml"] for data in maps if "s3ftpd.yaml" in data)
hashed = subprocess.run([binary, "hash-password"], input="x\n", capture_output=True, text=True, check=True).stdout
names = set(re.findall(r"/run/secrets/s3ftpd/(\S+)", config))
if any(name.endswith(".crt") for name in names):
    certificate, key = directory / "certificate", directory / "key"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ftp.example.com".split()
    subprocess.run(
        [*make, "-addext", "subjectAltName=DNS:ftp.example.com", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
for name in names:
    content = hashed
    if name.endswith(".crt"):
        content = certificate.read_text()
    elif name.endswith(".key"):
        content = key.read_text()
    (directory / name).write_text(content)
path = directory / "s3ftpd.yaml"
path.write_text(config.replace("/run/secrets/s3ftpd/", f"{directory}/"))
END
  S3_ACCESS_KEY=id "$binary" check --config "$dir/s3ftpd.yaml" >"$dir/check" 2>&1 || {
    cat "$dir/check" >&2
    echo "chart: s3ftpd does not accept the configuration of $2" >&2
    exit 1
  }
  echo "ok   chart: s3ftpd accepts the configuration of $2"
}

# Each call: a phrase of the expected message, and the values that must be refused.
refusals() {
  local good="$chart/ci/cluster-ip-values.yaml" balanced="$chart/ci/load-balancer-values.yaml"
  local noded="$chart/ci/node-port-values.yaml"
  refused "config.stores is empty"
  refused "passive.address is empty" --values "$good" --set service.type=LoadBalancer
  refused "has 201 ports" --values "$good" --set passive.firstPort=40000 --set passive.lastPort=40200
  refused "is below passive.firstPort" --values "$good" --set passive.firstPort=40000 --set passive.lastPort=39999
  refused "holds port 2121" --values "$good" --set passive.firstPort=2100 --set passive.lastPort=2130
  refused "would stand in a ConfigMap" --values "$good" --set config.stores.main.secret_access_key=plain
  refused "config.before_publish.secret is plain text" --values "$balanced" --set config.before_publish.secret=plain
  refused "config.events.billing.secret is plain text" --values "$balanced" --set config.events.billing.secret=plain
  refused "hides the clients' addresses" --values "$balanced" --set service.clientAddressKept=false
  refused "is for service.type NodePort" --values "$good" --set service.nodePort=30021
  refused "service.implicitPort needs config.tls" --values "$good" --set service.implicitPort=990
  refused "implicitNodePort is for service.type NodePort" --values "$balanced" --set service.implicitNodePort=30990
  refused "implicitNodePort and service.nodePort are the same" --values "$noded" --set service.implicitNodePort=30021
  refused "service.implicitNodePort (30101) is one of the passive range" --values "$noded" --set service.implicitNodePort=30101
  refused "replicas" --values "$good" --set replicas=2
  refused "listen" --values "$good" --set config.listen=x
  refused "shutdown_grace" --values "$good" --set config.timeouts.shutdown_grace=5s
  refused "bukket" --values "$good" --set config.mounts.scans.bukket=x
  refused "password" --values "$good" --set config.users.scanner1.password=null
}

refused() {
  local text=$1
  shift
  if helm template ci "$chart" "$@" >"$out/refused" 2>&1 || ! grep -qF "$text" "$out/refused"; then
    echo "chart: not refused, or without \"$text\": $*" >&2
    tail -n 20 "$out/refused" >&2
    exit 1
  fi
  echo "ok   chart: refused: $text"
}

main
