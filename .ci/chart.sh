#!/usr/bin/env bash
# The chart: linted, rendered with each file of helm/s3ftpd/ci, checked against Kubernetes' schemas; what must be
# refused is refused; and the configuration that it renders is one that s3ftpd takes.
#
#   chart.sh [BINARY]     without the binary its last check is left out, and says so
#
# Needs helm 4 and, in PYTHON (default python3), the module kubernetes_validate.
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
    taken "$out/$name.yaml" "$name"
  done
  refusals
}

valid() {
  local version
  for version in 1.26 1.30 ""; do
    "$python" -m kubernetes_validate --strict --quiet ${version:+--kubernetes-version "$version"} "$1" || {
      echo "chart: $2 is not valid for Kubernetes ${version:-(newest)}" >&2
      exit 1
    }
  done
  echo "ok   chart: $2 is valid"
}

# The secrets that the configuration names get files, below another directory than the pod's.
taken() {
  if [ -z "$binary" ]; then
    echo "--   chart: $2 is not shown to s3ftpd: no binary given"
    return
  fi
  local dir="$out/$2"
  mkdir -p "$dir"
  "$python" - "$1" "$dir" "$binary" <<'END'
import re, subprocess, sys
from pathlib import Path
import yaml

rendered, directory, binary = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
config = next(d for d in yaml.safe_load_all(open(rendered)) if d and d["kind"] == "ConfigMap")["data"]["s3ftpd.yaml"]
hashed = subprocess.run([binary, "hash-password"], input="x\n", capture_output=True, text=True, check=True).stdout
for name in re.findall(r"/run/secrets/s3ftpd/(\S+)", config):
    (directory / name).write_text(hashed)
path = directory / "s3ftpd.yaml"
path.write_text(config.replace("/run/secrets/s3ftpd/", f"{directory}/"))
END
  S3_ACCESS_KEY=id "$binary" check --config "$dir/s3ftpd.yaml" >"$dir/check" 2>&1 || {
    cat "$dir/check" >&2
    echo "chart: s3ftpd does not take the configuration of $2" >&2
    exit 1
  }
  echo "ok   chart: s3ftpd takes the configuration of $2"
}

# Each with what the message must say.
refusals() {
  local good="$chart/ci/cluster-ip-values.yaml" balanced="$chart/ci/load-balancer-values.yaml"
  refused "config.stores is empty"
  refused "passive.address is empty" --values "$good" --set service.type=LoadBalancer
  refused "has 201 ports" --values "$good" --set passive.firstPort=40000 --set passive.lastPort=40200
  refused "is below passive.firstPort" --values "$good" --set passive.firstPort=40000 --set passive.lastPort=39999
  refused "holds port 2121" --values "$good" --set passive.firstPort=2100 --set passive.lastPort=2130
  refused "would stand in a ConfigMap" --values "$good" --set config.stores.main.secret_access_key=plain
  refused "hides the clients' addresses" --values "$balanced" --set service.clientAddressKept=false
  refused "is for service.type NodePort" --values "$good" --set service.nodePort=30021
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
    echo "chart: not refused, or not with \"$text\": $*" >&2
    tail -n 20 "$out/refused" >&2
    exit 1
  fi
  echo "ok   chart: refused: $text"
}

main
