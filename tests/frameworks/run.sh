#!/bin/sh
# Runs the tests of a bridge against the real framework, in an environment of its own: FedML pins numpy below 2.
# Usage: tests/frameworks/run.sh fedml|flower [FOLDER OF THE ENVIRONMENT]    (5.8 GB with torch's CUDA libraries)
set -eu
case "${1:-}" in
    fedml) needs="fedml==0.9.6 setuptools<80 numpy<2" tests="test_fedml_simulator.py test_fedml_cross_silo.py" ;;
    flower) needs="flwr>=1.41" tests="test_flower.py" ;;
    *) echo "usage: $0 fedml|flower [FOLDER]" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${2:-"$root/.venv-$1"}
[ -x "$folder/bin/python" ] || uv venv --python 3.11 "$folder"
# shellcheck disable=SC2086 - one word per requirement
uv pip install --quiet --python "$folder/bin/python" $needs pytest pytest-timeout --editable "$root"
cd "$root/tests/priprune_plugins/bridges"
# FedML writes its settings into the home folder.
HOME=${FRAMEWORK_HOME:-$(mktemp -d)} exec "$folder/bin/python" -m pytest -q -rs -p no:cacheprovider $tests
