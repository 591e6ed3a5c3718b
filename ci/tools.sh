#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. The toolchains (Rust, Go, Python) must be there.
#
#   tools.sh crates        downloads the crates that the workspace needs on this machine
#   tools.sh packages      the FTP clients and other commands, by apt-get
#   tools.sh chart         helm, and kubernetes-validate in a virtual environment
#   tools.sh stores        versitygw and MinIO
#   tools.sh garage        Garage; it compiles for ten minutes
#   tools.sh browser       Chromium, and playwright-core, which drives it
#   tools.sh tls           the FTPS libraries that the programs in ci/tls-clients use
#
# This file alone names the versions. A tool that has its version is not installed again.
set -euo pipefail

HELM=v4.3.1
VERSITYGW=v1.8.0
MINIO=v0.0.0-20260212201848-7aac2a2c5b7c
GARAGE=2.5.0
KUBERNETES_VALIDATE=1.37.0
JLAFFAYE_FTP=v0.2.4
BASIC_FTP=6.2.6
PLAYWRIGHT=1.65.1
COMMONS_NET=3.11.1
AIOFTP=0.28.3

cache=${S3FTPD_CI_CACHE:-$HOME/.cache/s3ftpd-ci}
at="$cache/tls-clients"
gobin=$(go env GOBIN)
gobin=${gobin:-$(go env GOPATH)/bin}
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$gobin:$PATH"
mkdir -p "$cache"

crates() {
  retry cargo fetch --locked --quiet --target "$(rustc -vV | awk '$1 == "host:" { print $2 }')"
}

packages() {
  local -A wanted=(
    [curl]=curl [lftp]=lftp [ncftpput]=ncftp [tnftp]=tnftp [inetutils-ftp]=inetutils-ftp [wget]=wget [perl]=perl
    [setpriv]=util-linux [cc]=build-essential [pkg-config]=pkg-config [promtool]=prometheus
  )
  local missing=() command
  for command in "${!wanted[@]}"; do
    command -v "$command" >/dev/null || missing+=("${wanted[$command]}")
  done
  if ! perl -MNet::FTP -e 1 2>/dev/null; then missing+=(perl); fi
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi
  apt "${missing[@]}"
}

# A broken download must not end a run of an hour.
retry() {
  local n
  for n in 15 30 60; do
    if "$@"; then return; fi
    echo "tools: failed, next attempt in $n s: $*" >&2
    sleep "$n"
  done
  "$@"
}

apt() {
  [ $# -gt 0 ] || return 0
  local sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  retry $sudo apt-get update -q -o Acquire::Retries=5
  retry $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 "$@"
}

chart() {
  go_tool helm helm.sh/helm/v4 "$HELM" helm.sh/helm/v4/cmd/helm
  local venv="$cache/venv"
  if ! "$venv/bin/python" -c "import importlib.metadata as m; assert m.version('kubernetes-validate') == '$KUBERNETES_VALIDATE'" 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    retry "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "kubernetes-validate==$KUBERNETES_VALIDATE"
  fi
}

stores() {
  go_tool versitygw github.com/versity/versitygw "$VERSITYGW" github.com/versity/versitygw/cmd/versitygw
  go_tool minio github.com/minio/minio "$MINIO" github.com/minio/minio
}

# Go writes the module's version into what it builds.
go_tool() {
  local name=$1 module=$2 version=$3 package=$4
  if ! go version -m "$gobin/$name" 2>/dev/null | awk '$1 == "mod" { print $2, $3 }' | grep -qxF "$module $version"; then
    retry go install "$package@$version"
  fi
}

# It has its own target directory, since the build would lock the checkout's. The directory stays
# until Garage is installed, so that an interrupted installation resumes.
garage() {
  if command garage --version 2>/dev/null | grep -qF "cargo:$GARAGE "; then return; fi
  CARGO_TARGET_DIR="$cache/garage-target" retry cargo install garage --version "$GARAGE" --locked --quiet
  rm -rf "$cache/garage-target"
}

browser() {
  local package missing=()
  for package in chromium:chromium node:nodejs npm:npm openssl:openssl; do
    command -v "${package%%:*}" >/dev/null || missing+=("${package#*:}")
  done
  fc-list 2>/dev/null | grep -q . || missing+=(fonts-dejavu-core)
  apt "${missing[@]}"
  local at="$cache/browser"
  if grep -qF "\"version\": \"$PLAYWRIGHT\"" "$at/node_modules/playwright-core/package.json" 2>/dev/null; then return; fi
  mkdir -p "$at"
  retry npm install --silent --no-audit --no-fund --prefix "$at" "playwright-core@$PLAYWRIGHT"
}

# Installs each library in the form that drive_tls.py expects: a Go module, a directory of packages,
# jars, a virtual environment. A library that can't be downloaded in two attempts is reported and left
# out, and drive_tls.py skips its client. drive_tls.py fails without openssl, curl, lftp and Python.
tls() {
  mkdir -p "$at"
  local package
  for package in openssl:openssl ruby:ruby rclone:rclone node:nodejs npm:npm javac:default-jdk-headless mvn:maven; do
    command -v "${package%%:*}" >/dev/null || try apt "${package#*:}"
  done
  perl -MIO::Socket::SSL -e 1 2>/dev/null || try apt libio-socket-ssl-perl
  try jlaffaye_ftp
  try basic_ftp
  try commons_net
  try aioftp
}

# Runs a function in a new shell, which ends at the first error.
try() {
  "$0" one "$@" || "$0" one "$@" || echo "tools: $* could not be installed"
}

jlaffaye_ftp() {
  if grep -qF "github.com/jlaffaye/ftp $JLAFFAYE_FTP" "$at/go/go.mod" 2>/dev/null; then return; fi
  rm -rf "$at/go"
  mkdir "$at/go"
  cd "$at/go"
  go mod init clients
  go get "github.com/jlaffaye/ftp@$JLAFFAYE_FTP"
}

basic_ftp() {
  if grep -qF "\"version\": \"$BASIC_FTP\"" "$at/node/node_modules/basic-ftp/package.json" 2>/dev/null; then return; fi
  mkdir -p "$at/node"
  npm install --silent --no-audit --no-fund --prefix "$at/node" "basic-ftp@$BASIC_FTP"
}

commons_net() {
  if [ -f "$at/java/commons-net-$COMMONS_NET.jar" ]; then return; fi
  rm -rf "$at/java"
  mkdir "$at/java"
  mvn --batch-mode --quiet dependency:copy "-Dartifact=commons-net:commons-net:$COMMONS_NET" "-DoutputDirectory=$at/java"
}

aioftp() {
  if "$at/venv/bin/python" -c "import importlib.metadata as m; assert m.version('aioftp') == '$AIOFTP'" 2>/dev/null; then return; fi
  rm -rf "$at/venv"
  python3 -m venv "$at/venv"
  "$at/venv/bin/python" -m pip install --quiet --disable-pip-version-check "aioftp==$AIOFTP"
}

if [ "${1:-}" = one ]; then
  shift
  "$@"
  exit
fi
for what in "$@"; do
  case "$what" in
    crates | packages | chart | stores | garage | browser | tls) "$what" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
